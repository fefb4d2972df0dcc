//! `/metrics`: what the system knows of the process, under the names that Prometheus's own clients give it.

use std::fs;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::metrics::Page;

/// This process. What cannot be found out is left out.
#[derive(Debug)]
pub(super) struct Process {
    /// When it was started, in seconds since 1970.
    start: Option<f64>,
}

impl Process {
    pub(super) fn new() -> Self {
        // Of the system's start `/proc/stat` tells too, but not in a service with `ProcSubset=pid`.
        let up = clock_gettime(ClockId::Boottime);
        let up = Duration::try_from(up).unwrap_or_default();
        let boot = SystemTime::UNIX_EPOCH.elapsed().ok().and_then(|now| now.checked_sub(up));
        let start = boot.zip(Stat::read()).map(|(boot, stat)| boot.as_secs_f64() + stat.start);
        Self { start }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut page = Page(encoder);
        if let Some(stat) = Stat::read() {
            page.gauge("resident_memory", "Memory that is resident", Some(&Unit::Bytes), &stat.resident)?;
            let help = "Time of processors, the system's for it included";
            let mut metric =
                page.0.encode_descriptor("cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, f64>(&stat.cpu, None)?;
        }
        if let Some(start) = self.start {
            page.gauge("start_time", "When it was started, since 1970", Some(&Unit::Seconds), &start)?;
        }
        if let Some(open) = open_files() {
            page.gauge("open_fds", "File descriptors that are open", None, &open)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            page.gauge("max_fds", "File descriptors that may be open", None, &most)?;
        }
        Ok(())
    }
}

/// What is in `/proc/self/stat` (`proc_pid_stat(5)`).
struct Stat {
    /// In seconds.
    cpu: f64,
    /// In seconds since the system was started.
    start: f64,
    /// In bytes.
    resident: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, whatever is in it; what follows is numbered from 3 on.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| seconds(ticks, clock_ticks_per_second());
        Some(Self {
            cpu: seconds(field(14)? + field(15)?),
            start: seconds(field(22)?),
            resident: field(24)? * u64::try_from(page_size()).ok()?,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ticks are more than a million years")]
fn seconds(ticks: u64, per_second: u64) -> f64 {
    ticks as f64 / per_second as f64
}

fn open_files() -> Option<u64> {
    // Linux 6.2 and later tell the count as the directory's size; before, that is 0.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok(),
        count => Some(count),
    }
}
