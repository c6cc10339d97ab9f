//! The nightly dry run: would the gates let a rollback through tonight?
//!
//! Once a night, at three o'clock UTC and up to half an hour later by a hash of the service's name, so that on-call
//! knows beforehand. Only what would hold whatever broke counts: that a release is old, a budget spent or a cooldown
//! running is normal or passes by itself, a maintenance time and a denial are somebody's will, and an ill dependency, network
//! or journal has pages of its own.

use std::time::Duration;

use super::{Gate, GateReport};
use crate::core::{answer::Answer, name::ServiceName, time::WallTime};

/// When the night's dry run is due, in UTC.
pub const NIGHTLY: Duration = Duration::from_secs(3 * 3600);

/// The dry runs of all services are spread over this.
const SPREAD_MS: u64 = 30 * 60 * 1000;

const DAY_MS: i64 = 86_400_000;

/// The number of the night that a moment belongs to; it grows by one at the service's own time of the dry run.
pub fn night_of(service: &ServiceName, at: WallTime) -> i64 {
    let begins = i64::try_from(NIGHTLY.as_millis()).expect("less than a day") + offset_ms(service);
    (at.as_millis() - begins).div_euclid(DAY_MS)
}

/// 64-bit FNV-1a over the name, within the spread.
fn offset_ms(service: &ServiceName) -> i64 {
    let hash = service
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    i64::try_from(hash % SPREAD_MS).expect("half an hour fits")
}

/// The gates that would hold a rollback tonight, whatever broke.
pub fn holds_tonight(reports: &[GateReport]) -> Vec<&GateReport> {
    let is_old = reports.iter().any(|one| one.gate == Gate::DeployedRecently && one.answer == Answer::No);
    let counts = |gate: Gate| match gate {
        // Without these nothing can be rolled back, now or after the next deploy.
        Gate::Accused | Gate::NotPaused | Gate::NotPinned | Gate::NotOwned | Gate::Undoable => true,
        // An old release is not to blame, so that it need not be gone back from.
        Gate::KnownGood | Gate::NotKnownBad | Gate::OneRollbackForADeploy => !is_old,
        Gate::DeployedRecently
        | Gate::FaultAfterDeploy
        | Gate::NotDenied
        | Gate::Budget
        | Gate::Cooldown
        | Gate::NotInMaintenance
        | Gate::NoSharedCause
        | Gate::DependenciesWell
        | Gate::OnlyTheNewFails
        | Gate::SelfCheck
        | Gate::Store => false,
    };
    reports.iter().filter(|one| counts(one.gate) && one.answer != Answer::Yes).collect()
}
