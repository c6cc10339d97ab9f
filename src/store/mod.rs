//! The journal: the trait and its SQLite.
