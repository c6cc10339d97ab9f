//! Windows against naive models.
