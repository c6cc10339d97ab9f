//! The configuration, held against the reference files, against thirty and more broken ones, and against noise.

#[path = "config/support.rs"]
mod support;

#[path = "config/broken.rs"]
mod broken;
#[path = "config/compiled.rs"]
mod compiled;
#[path = "config/files.rs"]
mod files;
#[path = "config/here.rs"]
mod here;
#[path = "config/noise.rs"]
mod noise;
#[path = "config/references.rs"]
mod references;
