//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// As many as are asked for: 1,200 browsers, 10,000 watched folders, and room.
const WANTED: u64 = 65_536;
/// Below this a thousand slow readers leave no room for anything else.
const ENOUGH: u64 = 4_096;

/// Raises the soft limit as far as the hard one allows. What is to be told if that is not enough.
pub(crate) fn raise_open_files() -> Option<String> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(WANTED).min(WANTED);
    let before = limit.current.unwrap_or(u64::MAX);
    if before < most
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
    {
        debug!(%error, "the limit of open files stays");
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (now < ENOUGH).then(|| {
        format!(
            "only {now} files and connections may be open at a time: many browsers or peers at once will be refused; \
             raise LimitNOFILE of the service, or `ulimit -n`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_as_high_as_the_system_allows() {
        let told = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        let (now, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
        assert!(now >= most.min(WANTED), "{now} of {most}");
        assert_eq!(told.is_some(), now < ENOUGH);
    }
}
