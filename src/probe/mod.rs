//! Looks at the world: http, tcp, command, Prometheus, exposition pages, the version endpoint.
