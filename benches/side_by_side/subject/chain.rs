//! Debian's `blackbox_exporter`, Prometheus and Alertmanager, everything that can be tuned at one second or none.

use crate::{
    place::{Place, free_port},
    process::{Child, Core, pinned},
    server,
    subject::{Load, Ports},
};

pub(super) fn start(load: Load, ports: Ports, place: &Place) -> anyhow::Result<Vec<Child>> {
    let (blackbox, prometheus, alertmanager) = (free_port()?, free_port()?, free_port()?);
    let blackbox_file = place
        .write("blackbox.yml", "modules: {http: {prober: http, timeout: 1s, http: {preferred_ip_protocol: ip4}}}\n")?;
    // Three failed scrapes, a second apart.
    let rules = place.write(
        "rules.yml",
        "groups:\n- name: down\n  rules:\n  - {alert: Down, expr: probe_success == 0, for: 2s}\n",
    )?;
    let targets: Vec<String> = (0..load.a_second())
        .map(|probe| format!("'http://127.0.0.1:{}{}'", ports.server, server::path(probe)))
        .collect();
    let prometheus_file = place.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: ['{}']
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]}}
scrape_configs:
- job_name: probes
  metrics_path: /probe
  params: {{module: [http]}}
  static_configs: [{{targets: [{}]}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: '127.0.0.1:{blackbox}'}}
",
            rules.display(),
            targets.join(", ")
        ),
    )?;
    let alertmanager_file = place.write(
        "alertmanager.yml",
        &format!(
            "route: {{receiver: page, group_by: [instance], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: page, webhook_configs: [{{url: 'http://127.0.0.1:{}/alertmanager', send_resolved: false}}]}}]
",
            ports.receiver
        ),
    )?;
    let start = |program: &str, arguments: &[String]| {
        let mut command = pinned(Core::Any, program);
        command.args(arguments).current_dir(place.home());
        Child::start_logged(command, &place.path(&format!("{program}.log")))
    };
    let log_level = "--log.level=error".to_owned();
    Ok(vec![
        start(
            "prometheus-blackbox-exporter",
            &[
                format!("--config.file={}", blackbox_file.display()),
                format!("--web.listen-address=127.0.0.1:{blackbox}"),
                // Else it takes half a second of each scrape's second for itself.
                "--timeout-offset=0.1".to_owned(),
                log_level.clone(),
            ],
        )?,
        start(
            "prometheus-alertmanager",
            &[
                format!("--config.file={}", alertmanager_file.display()),
                format!("--storage.path={}", place.path("alertmanager").display()),
                format!("--web.listen-address=127.0.0.1:{alertmanager}"),
                "--cluster.listen-address=".to_owned(),
                log_level.clone(),
            ],
        )?,
        start(
            "prometheus",
            &[
                format!("--config.file={}", prometheus_file.display()),
                format!("--storage.tsdb.path={}", place.path("prometheus").display()),
                format!("--web.listen-address=127.0.0.1:{prometheus}"),
                log_level,
            ],
        )?,
    ])
}
