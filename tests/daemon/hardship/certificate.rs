//! Certificates: told before they expire, and taken for the service's failure once they have.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{ToSpan as _, Zoned, tz::TimeZone};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

use super::{nothing_is_done, releases};
use crate::world::{
    QUICK, World,
    port::Port,
    wait::{eventually, until},
};

/// A server over TLS whose certificate can be changed while it serves. Its authority is known to no machine.
struct Secure {
    port: Port,
    authority_file: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl Secure {
    /// With a certificate that expires in so many days.
    fn start(world: &World, days: i64) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let authority_file = world.path("authority.pem");
        std::fs::write(&authority_file, params.self_signed(&key).expect("a certificate").pem()).expect("written");
        let issuer = rcgen::Issuer::new(params, key);
        let config = Arc::new(Mutex::new(config(&issuer, days)));
        let port = Port::reserve();
        let listener = TcpListener::bind(("127.0.0.1", port.number)).expect("the port is ours");
        let current = Arc::clone(&config);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let config = Arc::clone(&current.lock().expect("no panic"));
                std::thread::spawn(move || {
                    connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
                    let session = ServerConnection::new(config).expect("a session");
                    let mut stream = StreamOwned::new(session, connection);
                    // Whoever does not trust the certificate goes away.
                    let asked = stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0);
                    if asked {
                        let answer = b"HTTP/1.1 200 -\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                        let _gone = stream.write_all(answer).and_then(|()| stream.flush());
                    }
                });
            }
        });
        Self { port, authority_file, issuer, config }
    }

    fn renew(&self, days: i64) {
        *self.config.lock().expect("no panic") = config(&self.issuer, days);
    }

    /// The service of the configuration, with one more probe.
    fn configure(&self, world: &World, rest: &str) {
        let probe = format!(
            "      secure: {{http: {{url: \"https://127.0.0.1:{}/\", tls: {{ca_file: {}}}}}, every: 500ms, timeout: \
             500ms}}\n",
            self.port.number,
            self.authority_file.display()
        );
        world.configure_service(&(probe + rest));
    }
}

fn config(issuer: &rcgen::Issuer<'static, rcgen::KeyPair>, days: i64) -> Arc<ServerConfig> {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    // The end is the midnight before, so that there is less left than that.
    let end = Zoned::now().with_time_zone(TimeZone::UTC).checked_add(days.days()).expect("in range").date();
    let part = |part: i8| u8::try_from(part).expect("a date");
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(i32::from(end.year()), part(end.month()), part(end.day()));
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a certificate and its key");
    Arc::new(config)
}

#[test]
fn one_that_will_expire_is_told_once_for_each_bound_and_so_is_its_renewal() {
    let world = releases();
    let secure = Secure::start(&world, 10);
    secure.configure(&world, QUICK);
    let mut daemon = world.watch();
    let about = |world: &World| {
        let all = world.receiver.of("incident.escalated");
        all.into_iter().filter(|one| one.text("finding") == "certificate_expiring").collect::<Vec<_>>()
    };
    let told = eventually("a page about the certificate", || about(&world).into_iter().next());
    assert_eq!((told.text("severity"), told.text("service")), ("S3", "api"));
    let summary = told.text("summary");
    assert!(summary.contains("secure") && summary.contains("expires in 9 days"), "{summary}");
    assert!(told.text("action").contains("Renew the certificate"), "{told:?}");
    until("status says it", || world.cli.text(&["status"]).contains("the certificate that secure sees expires at"));
    let explained = world.cli.text(&["explain", "api"]);
    assert!(explained.contains("certificate until"), "{explained}");
    // It is no fault of the service, and the next process remembers that it was told.
    nothing_is_done(&world, &mut daemon, Duration::from_secs(2));
    assert!(daemon.terminate().success());
    let mut daemon = world.watch();
    until("it is seen again", || world.cli.text(&["explain", "api"]).contains("certificate until"));
    nothing_is_done(&world, &mut daemon, Duration::from_secs(2));
    assert_eq!(about(&world).len(), 1, "told once");
    // Another one, which has even less left.
    secure.renew(2);
    eventually("a page about the second one", || about(&world).into_iter().nth(1));
    assert!(about(&world)[1].text("summary").contains(" h, at "), "{:?}", about(&world)[1]);
    secure.renew(300);
    until("nothing is left to be said", || {
        world.cli.json(&["status"])["services"][0]["certificates_expiring"].is_null()
    });
    nothing_is_done(&world, &mut daemon, Duration::from_secs(1));
    assert_eq!(about(&world).len(), 2);
}

#[test]
fn an_expired_one_is_the_services_failure_and_is_named() {
    let world = releases();
    let secure = Secure::start(&world, 300);
    secure.configure(&world, &format!("    mode: observe\n{QUICK}"));
    let mut daemon = world.watch();
    world.wait_until_settled("v1");
    nothing_is_done(&world, &mut daemon, Duration::from_secs(1));
    secure.renew(-1);
    let opened = world.receiver.wait_for("incident.opened");
    assert!(opened.data.to_string().contains("expired"), "{:#}", opened.data);
    let explained = world.cli.text(&["explain", "api"]);
    assert!(explained.contains("certificate expired") && explained.contains("TLS handshake"), "{explained}");
    daemon.must_run();
    secure.renew(300);
    world.receiver.wait_for("incident.resolved");
    assert_eq!(world.restarts(), Vec::<String>::new());
}
