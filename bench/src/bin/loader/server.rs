//! What a server costs, as the kernel counts it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::Result;

/// How long a server gets to fall asleep: what a running thread used is only counted when it stops.
const SETTLE: Duration = Duration::from_millis(5);

/// The process that is measured.
pub(crate) struct Server {
    proc: PathBuf,
}

impl Server {
    pub(crate) fn new(pid: u32) -> Self {
        Self { proc: PathBuf::from(format!("/proc/{pid}")) }
    }

    /// The CPU time of all threads together in nanoseconds, user and system; called when there is nothing left to do.
    pub(crate) fn cpu_time(&self) -> Result<u64> {
        std::thread::sleep(SETTLE);
        let mut sum = 0;
        for task in fs::read_dir(self.proc.join("task"))? {
            let line = fs::read_to_string(task?.path().join("schedstat"))?;
            let time = line.split_whitespace().next().ok_or("an empty schedstat")?;
            sum += time.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// The resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let rollup = fs::read_to_string(self.proc.join("smaps_rollup"))?;
        let line =
            rollup.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("no Rss in smaps_rollup")?;
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>()?;
        Ok(kibibytes << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_time_of_every_thread_counts() {
        let server = Server::new(std::process::id());
        let before = server.cpu_time().unwrap();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let end = std::sync::Arc::new(std::sync::Barrier::new(3));
        for _ in 0..2 {
            let (done, end) = (done.clone(), end.clone());
            std::thread::spawn(move || {
                // CPU time, not wall time: the machine may be busy.
                let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                while cpu().tv_nsec < 50_000_000 {}
                drop(done);
                end.wait();
            });
        }
        drop(done);
        let start = Instant::now();
        assert!(ended.recv().is_err());
        let used = Duration::from_nanos(server.cpu_time().unwrap() - before);
        end.wait();
        assert!(used >= Duration::from_millis(95), "{used:?} in {:?}", start.elapsed());
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let server = Server::new(std::process::id());
        let before = server.resident().unwrap();
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        let grown = server.resident().unwrap() - before;
        // Other tests may give some back meanwhile.
        assert!((31 << 20..40 << 20).contains(&grown), "{grown} for {}", block.len());
    }
}
