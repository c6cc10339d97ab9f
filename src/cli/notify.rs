//! `backstop notify test CHANNEL`: one page by one channel, now, without a daemon.

use std::sync::Arc;

use super::{
    Failure,
    arguments::Access,
    arguments_by_hand::{Notify, NotifyCommand},
    configuration, output,
};
use crate::{
    config::{self, SystemSecrets},
    core::{
        name::{ChannelName, PageId},
        page::{DeliveryOutcome, Page, PageKind},
        policy::Severity,
    },
    notify::{self, Channels},
    probe::net::Network,
    runtime::clock::Clock,
};

pub(super) async fn run(access: &Access, notify: &Notify) -> Result<(), Failure> {
    let NotifyCommand::Test { channel } = &notify.command;
    let (config, _warnings) =
        config::load(&access.config, &SystemSecrets).map_err(|diagnostics| configuration::told(&diagnostics))?;
    let channel = ChannelName::from(channel.as_str());
    if !config.channels.iter().any(|known| known.name == channel) {
        let known: Vec<_> = config.channels.iter().map(|known| known.name.to_string()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        return Err(Failure::failed(format!("find channel {channel} in {}: {known}", access.config.display())));
    }
    let clock = Clock::new();
    let tls = Network::new().tls.client(None).map_err(Failure::failed)?;
    let client = notify::client((*tls).clone()).map_err(Failure::failed)?;
    let at = clock.now().wall;
    let wall: notify::WallClock = Arc::new(move || clock.now().wall);
    let channels = Channels::new(&config.channels, &client, &wall).map_err(Failure::failed)?;
    let page = Page {
        id: PageId::from(format!("msg_test_{}", uuid::Uuid::now_v7().simple())),
        // Nothing acts on a signal that is back.
        kind: PageKind::SignalRestored,
        at,
        service: None,
        incident: None,
        severity: Severity::S3,
        finding: None,
        summary: format!("Test page of Backstop by channel {channel}: nothing is wrong."),
        action: "Nothing to do.".to_owned(),
        verdict: None,
        path: None,
        outcome: None,
        version_from: None,
        version_to: None,
        details: vec!["Sent by `backstop notify test`.".to_owned()],
        test: true,
    };
    match channels.deliver(&channel, &page, 1, &config.server.external_url).await {
        DeliveryOutcome::Delivered => output::print(&format!(
            "delivered by {channel}: a test page of severity {} and type {}, {}\n",
            page.severity,
            page.kind.as_str(),
            page.id
        )),
        DeliveryOutcome::Refused(reason) => {
            Err(Failure::failed(format!("deliver a test page by {channel}: refused for good: {reason}")))
        }
        DeliveryOutcome::Retry { reason, .. } => {
            Err(Failure::failed(format!("deliver a test page by {channel}: {reason}"))
                .with_hint("the daemon would try again"))
        }
    }
}
