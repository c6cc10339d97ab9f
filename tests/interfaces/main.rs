//! The interfaces of design §11: the HTTP API, the metrics and the command line, over real connections and with the real
//! binary, before a core that answers from a table.

mod api_document;
mod by_hand;
mod cli;
mod daemon;
mod gauges;
mod live;
mod render;
mod serve;
mod views;
