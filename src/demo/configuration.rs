//! The configuration of one run: real YAML, that goes through the real checker.

use std::path::Path;

use super::place::Place;

/// What the configuration needs beside the run's directory.
pub(super) struct Surroundings<'a> {
    pub(super) program: &'a Path,
    pub(super) shop_port: u16,
    pub(super) api_port: u16,
    pub(super) receiver_port: u16,
}

/// The configuration's text.
pub(super) fn text(place: &Place, around: &Surroundings<'_>) -> String {
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
    let shop = format!("http://127.0.0.1:{}", around.shop_port);
    format!(
        r#"server: {{listen: "127.0.0.1:{api}", socket: {socket}}}
store: {{path: {store}}}
history: {{file: {history}}}
evidence: {{directory: {evidence}}}
notify:
  channels:
    pager: {{webhook: {{url: "http://127.0.0.1:{receiver}/", secret: {secret}}}}}
services:
  - name: shop
    target:
      releases:
        directory: {releases}
        current: {current}
        restart: [{program}, demo-restart, {manager}]
    version: {{http: "{shop}/health", pointer: /version, every: 1s, timeout: 1s}}
    probes:
      ready: {{http: "{shop}/health/ready", every: 1s, timeout: 1s}}
    requests:
      metrics:
        url: {shop}/metrics
        total: http_requests_total
        errors: http_requests_total{{code=~"5.."}}
        latency: http_request_duration_seconds_bucket
      every: 500ms
      timeout: 500ms
    thresholds:                                                  # time is compressed; by default:
      down_for: 3s                                               # 10s
      roll_back_above: {{error_rate: 5%, over: 5s}}                # over: 1m
      consider_above: {{error_rate: 1%, over: 10s, for: 8s}}       # over: 1m, for: 5m
      slow_above: {{latency_p99: 2x, at_least: 250ms, over: 5s, for: 4s}}   # at_least: 200ms, over: 5m, for: 5m
      widen_to: 20s                                              # 10m
    gates: {{known_good_after: 12s, settle: 12s}}                  # 10m, 120s
    verify: {{healthy_for: 5s, timeout: 25s}}                      # 60s, 10m
"#,
        api = around.api_port,
        receiver = around.receiver_port,
        socket = quoted(&place.socket()),
        store = quoted(&place.path().join("backstop.db")),
        history = quoted(&place.history()),
        evidence = quoted(&place.evidence()),
        secret = serde_json::Value::from(format!("${{file:{}}}", place.secret().display())),
        releases = quoted(&place.releases()),
        current = quoted(&place.current()),
        program = quoted(around.program),
        manager = quoted(&place.manager_socket()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_checker_has_nothing_to_say() {
        let place = Place::new().expect("a directory");
        Place::write_private(&place.secret(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("written");
        let program = Path::new("/usr/bin/backstop");
        let around = Surroundings { program, shop_port: 20_001, api_port: 20_002, receiver_port: 20_003 };
        let text = text(&place, &around);
        let checked = config::check_bytes("demo.yaml", text.into_bytes(), Some(&config::SystemSecrets));
        assert!(checked.diagnostics.list.is_empty(), "{}", checked.diagnostics.render(false));
        std::fs::remove_dir_all(place.path()).expect("removed");
    }
}
