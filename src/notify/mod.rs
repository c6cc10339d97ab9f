//! Delivers pages; one file a channel.
