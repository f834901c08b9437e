//! The routes of the `gateway` app (`/v1/apps/gateway/…`): addresses for a browser on this computer.

use p2p_identity::DriveId;
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

/// Host of the dashboard. It is no sibling of the sites, which can set cookies for their parent.
pub const DASHBOARD_HOST: &str = "p2pnode.localhost";
/// What follows the id in the host of a site.
pub const SITE_HOST_SUFFIX: &str = ".p2p.localhost";

/// The address of a drive's site, from that of the dashboard ([`crate::NodeInfo::gateway`]).
pub fn site_address(dashboard: &str, drive: DriveId) -> Option<String> {
    let port = dashboard.strip_prefix("http://")?.strip_prefix(DASHBOARD_HOST)?.trim_end_matches('/');
    Some(format!("http://{drive}{SITE_HOST_SUFFIX}{port}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_beside_the_dashboard() {
        let drive = DriveId::from([1; 32]);
        let address = site_address("http://p2pnode.localhost:8642/", drive);
        assert_eq!(address, Some(format!("http://{drive}.p2p.localhost:8642/")));
        assert_eq!(site_address("http://p2pnode.localhost/", drive), Some(format!("http://{drive}.p2p.localhost/")));
        assert_eq!(site_address("http://127.0.0.1:8642", drive), None);
    }
}
