//! Ports of loopback that no other test has, and that no outgoing connection is given by the kernel.

use std::{
    fs::{self, File},
    net::TcpListener,
};

/// Below the range from which outgoing connections get theirs.
const FIRST: u16 = 18_000;
const COUNT: u16 = 12_000;

/// One port, reserved for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _reserved: File,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let locks = std::env::temp_dir().join("backstop-test-ports");
        fs::create_dir_all(&locks).expect("a directory for locks");
        let start =
            u16::try_from(std::process::id().wrapping_mul(7919) % u32::from(COUNT)).expect("less than the count");
        for step in 0..COUNT {
            let number = FIRST + (start + step) % COUNT;
            let Ok(lock) = File::create(locks.join(number.to_string())) else { continue };
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _reserved: lock };
            }
        }
        panic!("no port is free");
    }
}
