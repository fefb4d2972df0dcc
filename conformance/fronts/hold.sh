#!/bin/sh
# usage: hold.sh COMMAND [ARG]...
# Runs a command on the sockets that were handed over (sd_listen_fds(3)), and once more when it has ended: what systemd does with a socket unit's service
# that is restarted. Each time it prints `generation N ended with STATUS`.
for generation in 1 2; do
    # shellcheck disable=SC2016 # the inner shell's process is the one that the sockets are for
    sh -c 'LISTEN_PID=$$ exec "$@"' sh "$@"
    echo "generation $generation ended with $?"
done
