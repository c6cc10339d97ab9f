//! What stays for people: history file and evidence folders.

pub mod atomic;
