//! What stays for people: history file and evidence folders. Everything here may block, and belongs off the loop.

pub mod atomic;
pub mod evidence;
pub mod history;
