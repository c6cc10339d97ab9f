//! Views as text for people: pure functions, wrapped to a width, legible without colour.

mod compact;
mod deploys;
mod explain;
mod history;
mod incident;
mod reading;
mod rollback;
mod status;
mod table;
pub(crate) mod text;
mod under_way;

pub(crate) use compact::question;
pub use deploys::deploys;
pub use explain::explanation;
pub use history::history;
pub use incident::{incident, incidents};
pub use rollback::rollback;
pub use status::status;
pub use text::Layout;
