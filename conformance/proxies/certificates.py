"""Certificates made for the run, by openssl: each as NAME.crt, NAME.key, and both in NAME.pem."""

import datetime

from lib import process

HOSTS = "DNS:localhost,DNS:away.test,IP:127.0.0.1,IP:::1,IP:192.0.2.1"
SERVER, CLIENT = "serverAuth", "clientAuth"
DAY = datetime.timedelta(days=1)

# name: issuer, subject alternative names, purpose, valid from and until (in days from now)
LEAVES = {
    "good": ("ca", HOSTS, SERVER, -1, 30),
    "expired": ("ca", HOSTS, SERVER, -30, -1),
    "future": ("ca", HOSTS, SERVER, 30, 60),
    "wrong": ("ca", "DNS:other.example", SERVER, -1, 30),
    "unknown": ("other", HOSTS, SERVER, -1, 30),
    "client": ("ca", "DNS:client.example", CLIENT, -1, 30),
    "stranger": ("other", "DNS:client.example", CLIENT, -1, 30),
}

CA = """
[ca]
default_ca = it
[it]
database = {directory}/{issuer}.index
new_certs_dir = {directory}
certificate = {directory}/{issuer}.crt
private_key = {directory}/{issuer}.key
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = {purpose}
subjectAltName = {names}
"""


def make(directory):
    """Makes the two CAs, `ca` and `other`, the leaves, and `self`, which nobody has signed but itself."""
    log = directory / "openssl.log"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def openssl(*words):
        process.run(["openssl", *words], 20, log=log)

    def request(name, subject, *words):
        openssl("req", *key, "-keyout", directory / f"{name}.key", "-subj", f"/CN={subject}", *words)

    for name in ("ca", "other"):
        (directory / f"{name}.index").touch()
        request(name, f"Sockeye {name}", "-x509", "-days", "30", "-out", directory / f"{name}.crt")
    request("self", "self", "-x509", "-days", "30", "-out", directory / "self.crt",
            "-addext", f"subjectAltName={HOSTS}", "-addext", "basicConstraints=critical,CA:FALSE")
    now = datetime.datetime.now(datetime.timezone.utc)
    for name, (issuer, names, purpose, start, end) in LEAVES.items():
        config = directory / f"{name}.cnf"
        config.write_text(CA.format(directory=directory, issuer=issuer, purpose=purpose, names=names))
        request(name, name, "-new", "-out", directory / f"{name}.csr")
        start, end = (f"{now + days * DAY:%Y%m%d%H%M%SZ}" for days in (start, end))
        openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "leaf", "-startdate", start,
                "-enddate", end, "-in", directory / f"{name}.csr", "-out", directory / f"{name}.crt")
    for name in (*LEAVES, "self"):
        both = [(directory / f"{name}.{part}").read_text() for part in ("crt", "key")]
        (directory / f"{name}.pem").write_text("".join(both))
