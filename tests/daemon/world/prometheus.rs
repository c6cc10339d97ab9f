//! A real Prometheus server that scrapes the service each second.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{http, port::Port, wait::until};

#[derive(Debug)]
pub(crate) struct Prometheus {
    pub(crate) port: Port,
    home: PathBuf,
    child: Child,
}

impl Prometheus {
    /// Starts one that scrapes `service`, with its files below `directory`, and waits until it has scraped once.
    pub(crate) fn start(directory: &Path, service: u16) -> Self {
        let port = Port::reserve();
        let home = directory.join("prometheus");
        fs::create_dir_all(&home).expect("a directory");
        let configuration = home.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 900ms}}\n\
             scrape_configs:\n  - job_name: service\n    static_configs: [{{targets: [\"127.0.0.1:{service}\"]}}]\n"
        );
        fs::write(&configuration, text).expect("written");
        let child = run(&home, port.number);
        let prometheus = Self { port, home, child };
        prometheus.wait();
        prometheus
    }

    /// Waits until it has scraped the service.
    fn wait(&self) {
        let query = "/api/v1/query?query=http_requests_total";
        until("Prometheus has scraped the service", || {
            http::get(self.port.number, query).is_ok_and(|answer| answer.body.contains("\"code\":\"200\""))
        });
    }

    /// Starts it again, with what it had kept.
    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.home, self.port.number);
        self.wait();
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

fn run(home: &Path, port: u16) -> Child {
    let log = File::options().create(true).append(true).open(home.join("log")).expect("a log");
    Command::new("prometheus")
        .arg(format!("--config.file={}", home.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", home.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log)
        .spawn()
        .expect("Prometheus is installed (tests/run does so)")
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _over = self.child.kill();
        let _over = self.child.wait();
    }
}
