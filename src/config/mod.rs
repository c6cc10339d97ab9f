//! The configuration: YAML, read into spanned nodes, decoded by our own decoder with every mistake collected, compiled
//! into the validated form that the rest of the program works with.

pub mod form;
