//! HTTP API, metrics, health, authentication.
