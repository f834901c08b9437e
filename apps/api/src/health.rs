//! What a node tells of its own condition beyond its counters: its clock beside those of its peers, and how full everything
//! is that others can make grow.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The condition of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Its clock.
    pub clock: ClockCheck,
    /// Everything in its memory that others can make grow, and how far it can.
    pub bounds: Vec<Bound>,
}

/// A clock, compared with those of peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClockCheck {
    /// How many peers told their time, of at most eight that were asked.
    pub peers: u32,
    /// By how many milliseconds this node's clock is ahead of the median of theirs; negative where it is behind, `None`
    /// where nobody told.
    pub ahead_ms: Option<i64>,
}

/// A structure with a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bound {
    /// What it holds, in words.
    pub name: String,
    /// What is counted.
    pub unit: BoundUnit,
    /// How much it holds.
    pub used: u64,
    /// Most that it will hold.
    pub most: u64,
}

/// What a [`Bound`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BoundUnit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
}
