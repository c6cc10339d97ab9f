//! A service of a real Docker Compose project: looked at, rolled back and waited for. Run by `tests/compose/with`.

mod bed;
mod example;
mod hands;
mod hardships;
mod image;
mod looks;
mod rollbacks;
mod watched;
