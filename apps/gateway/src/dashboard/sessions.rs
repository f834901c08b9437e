//! Who may see the dashboard: browsers that came in by an address that only this computer's user was given.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use p2p_api::Result;

use crate::random;

/// Invitations that wait for their visitor; the oldest is forgotten.
const MAX_INVITATIONS: usize = 16;
/// How long an invitation can be used, once.
const INVITATION_TIME: Duration = Duration::from_secs(10 * 60);
/// Browsers that are let in at a time; the one that was not seen for longest is forgotten.
const MAX_SESSIONS: usize = 32;
/// How long a browser that shows nothing stays let in.
const SESSION_TIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Hash of a secret. What is looked up is a hash, so that the time it takes tells nothing.
type Hash = [u8; 32];

/// Invitations and sessions; in memory only, so a restart of the node ends all. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Sessions {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    invitations: HashMap<Hash, Instant>,
    sessions: HashMap<Hash, Entry>,
}

struct Entry {
    form_token: String,
    seen: Instant,
}

/// A browser that was let in.
#[derive(Clone)]
pub(crate) struct Session {
    /// What each form of this session has to send back: another site cannot read it.
    pub(crate) form_token: String,
}

impl Sessions {
    /// A token that lets one browser in.
    pub(crate) fn invite(&self) -> Result<String> {
        let token = random::text()?;
        self.state().invite(hash(&token), Instant::now());
        Ok(token)
    }

    /// Takes a token; the secret for the browser's cookie if it was good.
    pub(crate) fn enter(&self, token: &str) -> Result<Option<String>> {
        let (secret, form_token) = (random::text()?, random::text()?);
        let is_let_in = self.state().enter(hash(token), hash(&secret), form_token, Instant::now());
        Ok(is_let_in.then_some(secret))
    }

    /// The session that a cookie's secret belongs to.
    pub(crate) fn find(&self, secret: &str) -> Option<Session> {
        self.state().find(hash(secret), Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn invite(&mut self, token: Hash, now: Instant) {
        self.invitations.retain(|_, made| now.duration_since(*made) < INVITATION_TIME);
        if self.invitations.len() >= MAX_INVITATIONS {
            let oldest = self.invitations.iter().min_by_key(|(_, made)| **made).map(|(token, _)| *token);
            oldest.map(|oldest| self.invitations.remove(&oldest));
        }
        self.invitations.insert(token, now);
    }

    fn enter(&mut self, token: Hash, secret: Hash, form_token: String, now: Instant) -> bool {
        let made = self.invitations.remove(&token);
        if made.is_none_or(|made| now.duration_since(made) >= INVITATION_TIME) {
            return false;
        }
        if self.sessions.len() >= MAX_SESSIONS {
            let oldest = self.sessions.iter().min_by_key(|(_, entry)| entry.seen).map(|(secret, _)| *secret);
            oldest.map(|oldest| self.sessions.remove(&oldest));
        }
        self.sessions.insert(secret, Entry { form_token, seen: now });
        true
    }

    fn find(&mut self, secret: Hash, now: Instant) -> Option<Session> {
        let entry = self.sessions.get_mut(&secret)?;
        if now.duration_since(entry.seen) >= SESSION_TIME {
            self.sessions.remove(&secret);
            return None;
        }
        entry.seen = now;
        Some(Session { form_token: entry.form_token.clone() })
    }
}

fn hash(secret: &str) -> Hash {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_lets_one_browser_in() {
        let sessions = Sessions::default();
        let token = sessions.invite().unwrap();
        let secret = sessions.enter(&token).unwrap().expect("a good token");
        assert!(sessions.find(&secret).is_some());
        assert!(sessions.enter(&token).unwrap().is_none(), "it was used");
        assert!(sessions.find(&token).is_none(), "a token is no session");
        assert!(sessions.enter("guessed").unwrap().is_none());
    }

    #[test]
    fn invitations_and_sessions_end() {
        let (mut state, start) = (State::default(), Instant::now());
        state.invite([1; 32], start);
        assert!(!state.enter([1; 32], [2; 32], String::new(), start + INVITATION_TIME));
        state.invite([1; 32], start);
        assert!(state.enter([1; 32], [2; 32], String::new(), start));
        assert!(state.find([2; 32], start + SESSION_TIME - Duration::from_secs(1)).is_some());
        assert!(state.find([2; 32], start + SESSION_TIME).is_some(), "it was seen a moment ago");
        assert!(state.find([2; 32], start + SESSION_TIME + SESSION_TIME).is_none());
    }

    #[test]
    fn there_are_never_too_many() {
        let (mut state, start) = (State::default(), Instant::now());
        for index in 0..100_u8 {
            let now = start + Duration::from_secs(u64::from(index));
            state.invite([index; 32], now);
            assert!(state.enter([index; 32], [index; 32], String::new(), now));
            state.invite([index; 32], now);
        }
        assert_eq!((state.invitations.len(), state.sessions.len()), (MAX_INVITATIONS, MAX_SESSIONS));
        assert!(state.find([99; 32], start + Duration::from_secs(100)).is_some());
        assert!(state.find([0; 32], start + Duration::from_secs(100)).is_none());
    }
}
