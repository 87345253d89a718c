//! The memory of this process.

/// The most bytes of memory that the process had at once; `None` where the system does not tell it in `/proc`.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_peak_is_plausible() {
        let peak = super::peak().unwrap();
        assert!((100_000..100_000_000_000).contains(&peak), "{peak}");
    }
}
