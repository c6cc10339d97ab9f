//! The two clocks, read together. This is the one file that asks the machine for the time; everything else is handed
//! a [`Clock`] or a [`Now`].

use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::time::{BootTime, MachineStart, Now, WallTime};

/// Reads the machine's clocks. Cheap to clone and to hand out.
#[derive(Debug, Clone, Default)]
pub struct Clock(());

impl Clock {
    /// The machine's own clocks.
    pub const fn new() -> Self {
        Self(())
    }

    /// Both clocks, one right after the other.
    pub fn now(&self) -> Now {
        Now { boot: self.boot(), wall: wall() }
    }

    /// Which start of the machine the boot clock counts from: a hash of the kernel's random identity of it.
    ///
    /// # Errors
    /// Where the kernel does not tell it, as without /proc.
    pub fn machine_start(&self) -> std::io::Result<MachineStart> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        // 64-bit FNV-1a.
        let hash = boot_id
            .trim()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(MachineStart(hash))
    }

    /// The wall clock as the file system counts, for comparing with files' times.
    pub fn system(&self) -> SystemTime {
        SystemTime::now()
    }

    /// `CLOCK_BOOTTIME` alone: it goes on through suspend and is never stepped.
    pub fn boot(&self) -> BootTime {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        BootTime::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

fn wall() -> WallTime {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    };
    WallTime::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_never_goes_back_and_both_clocks_run() {
        let clock = Clock::new();
        let first = clock.now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let second = clock.now();
        assert!(second.boot > first.boot);
        assert!(first.wall > WallTime::from_millis(1_600_000_000_000), "a machine whose clock was ever set");
    }
}
