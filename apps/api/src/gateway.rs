//! The routes of the `gateway` app (`/v1/apps/gateway/…`): addresses for a browser on this computer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/apps/gateway/open`: where to see something. Answers [`Opened`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OpenRequest {
    /// The link, or a bare id; without one it is the dashboard.
    pub link: Option<String>,
}

/// An address for a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Opened {
    /// The address. That of the dashboard lets its first visitor in, within ten minutes: it is for the user only.
    pub url: String,
}
