//! Names, cheap to clone, each of its own type so that one cannot stand in for another.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
    };
}

name!(
    /// A watched service's name, unique in a configuration.
    ServiceName
);
name!(
    /// The name of a probe, feature, request source or other signal, unique in its service.
    SignalName
);
name!(
    /// A notification channel's name.
    ChannelName
);
name!(
    /// A condition's name, built in or the user's own.
    ConditionName
);
name!(
    /// The version of a release as the target names it (a directory, a tag, a revision).
    Version
);
name!(
    /// An incident's identity: the service's name and a number that counts up, as in `api-17`.
    IncidentId
);
name!(
    /// A page's identity; the same on every retry, so that a receiver can tell a repetition.
    PageId
);

/// A service's place in the policy. Valid for one loaded configuration; never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceIndex(pub u32);

impl ServiceIndex {
    /// As an index into a slice of services.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// A signal's place in its service's list of signals. Valid for one loaded configuration; never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalIndex(pub u16);

impl SignalIndex {
    /// As an index into a slice of signals.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}
