//! Contacts that apps ask the user to pick for them, kept in memory: an app that waits over a restart asks again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use p2p_api::{
    AnswerPick, ApiError, ErrorKind, MAX_PICKS, MAX_PICKS_PER_APP, PICK_LIFE_S, PickContact, PickInfo, PickState,
    PickedContact, Result,
};
use tokio::sync::watch;

use super::{People, now_s, random};

/// Longest that a call waits for the user.
const MAX_WAIT: Duration = Duration::from_secs(PICK_LIFE_S);

/// What is asked, and what was answered a short while ago.
pub(super) struct Picks {
    by_id: Mutex<BTreeMap<String, PickInfo>>,
    /// Changes with every answer.
    answered: watch::Sender<u64>,
}

impl Default for Picks {
    fn default() -> Self {
        Self { by_id: Mutex::default(), answered: watch::Sender::new(0) }
    }
}

impl Picks {
    /// Those that are not forgotten by `now_s`.
    fn current(&self, now_s: u64) -> MutexGuard<'_, BTreeMap<String, PickInfo>> {
        let mut all = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, pick| pick.expires > now_s);
        all
    }

    fn ask(&self, id: String, ask: PickContact, now_s: u64) -> Result<PickInfo> {
        ask.check()?;
        let app = ask.app.unwrap_or_default();
        let mut all = self.current(now_s);
        let is_waiting = |pick: &&PickInfo| pick.state == PickState::Waiting;
        let of_app = all.values().filter(is_waiting).filter(|pick| pick.app == app).count();
        let waiting = all.values().filter(is_waiting).count();
        if of_app >= MAX_PICKS_PER_APP || waiting >= MAX_PICKS {
            let message = format!("{of_app} picks of this app and {waiting} in all wait for the user");
            return Err(ApiError::new(ErrorKind::Busy, message)
                .with_hint("the user answers them with p2p contact pick; each is forgotten after 15 minutes"));
        }
        if all.len() >= 2 * MAX_PICKS {
            // An answer that its app did not fetch.
            let oldest = all.values().filter(|pick| pick.state != PickState::Waiting).min_by_key(|pick| pick.expires);
            if let Some(oldest) = oldest.map(|pick| pick.pick.clone()) {
                all.remove(&oldest);
            }
        }
        let (reason, expires) = (ask.reason, now_s + PICK_LIFE_S);
        let info = PickInfo { pick: id.clone(), app, reason, state: PickState::Waiting, contact: None, expires };
        all.insert(id, info.clone());
        Ok(info)
    }

    fn forget_app(&self, app: &str) {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, pick| pick.app != app);
        self.answered.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn get(&self, id: &str, now_s: u64) -> Result<PickInfo> {
        self.current(now_s).get(id).cloned().ok_or_else(|| unknown(id))
    }

    fn answer(&self, id: &str, contact: Option<PickedContact>, now_s: u64) -> Result<PickInfo> {
        let mut all = self.current(now_s);
        let pick = all.get_mut(id).ok_or_else(|| unknown(id))?;
        if pick.state != PickState::Waiting {
            return Err(ApiError::new(ErrorKind::Conflict, "this pick has been answered"));
        }
        pick.state = if contact.is_some() { PickState::Picked } else { PickState::Refused };
        pick.contact = contact;
        let info = pick.clone();
        drop(all);
        self.answered.send_modify(|count| *count = count.wrapping_add(1));
        Ok(info)
    }
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no pick {id:?}")).with_hint("it is forgotten after 15 minutes: ask again")
}

impl People {
    /// Asks the user to pick a contact.
    pub(crate) fn pick_contact(&self, ask: PickContact) -> Result<PickInfo> {
        let id = HEXLOWER.encode(&random::<16>()?);
        let info = self.inner.picks.ask(id, ask, now_s())?;
        let data = serde_json::json!({ "pick": info.pick, "app": info.app });
        self.inner.events.push("contacts", "contact.pick", data);
        Ok(info)
    }

    /// Forgets what an app asked for, and what it was told: it may nothing any more, and another may come under its id.
    pub(crate) fn forget_picks(&self, app: &str) {
        self.inner.picks.forget_app(app);
    }

    /// Those that wait, the oldest first, and those that were answered a short while ago.
    pub(crate) fn picks(&self) -> Vec<PickInfo> {
        let mut all: Vec<PickInfo> = self.inner.picks.current(now_s()).values().cloned().collect();
        all.sort_by(|a, b| (a.expires, &a.pick).cmp(&(b.expires, &b.pick)));
        all
    }

    /// One of them; waits for the user for at most so long.
    pub(crate) async fn pick(&self, id: &str, wait: Duration) -> Result<PickInfo> {
        let mut answered = self.inner.picks.answered.subscribe();
        let deadline = tokio::time::Instant::now() + wait.min(MAX_WAIT);
        loop {
            answered.mark_unchanged();
            let info = self.inner.picks.get(id, now_s())?;
            if info.state != PickState::Waiting {
                return Ok(info);
            }
            match tokio::time::timeout_at(deadline, answered.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(info),
            }
        }
    }

    /// The user's answer.
    pub(crate) fn answer_pick(&self, id: &str, answer: &AnswerPick) -> Result<PickInfo> {
        let contact = answer.contact.as_deref().map(|contact| {
            let found = self.inner.contact(&self.inner.find(contact)?)?;
            if found.changed {
                let message = format!("another identity now speaks for the zone of {}", found.name);
                return Err(ApiError::new(ErrorKind::Conflict, message));
            }
            Ok(PickedContact { identity: found.identity, name: found.name, peer: found.peer, ztld: found.ztld })
        });
        let info = self.inner.picks.answer(id, contact.transpose()?, now_s())?;
        let data = serde_json::json!({ "pick": info.pick, "app": info.app, "state": info.state });
        self.inner.events.push("contacts", "contact.picked", data);
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use p2p_identity::{IdentityId, PeerId};

    use super::*;

    fn by(app: &str) -> PickContact {
        PickContact { app: Some(app.to_owned()), reason: "to send it to them".to_owned() }
    }

    #[test]
    fn picks_are_bounded_per_app_and_in_all_and_forgotten() {
        let picks = Picks::default();
        let ask = |n: usize, app: &str, now_s| picks.ask(format!("{n:04}"), by(app), now_s);
        for n in 0..MAX_PICKS_PER_APP {
            ask(n, "chat", 10).expect("there is room");
        }
        assert_eq!(ask(98, "chat", 10).expect_err("too many of one app").kind, ErrorKind::Busy);
        for n in MAX_PICKS_PER_APP..MAX_PICKS {
            ask(n, &format!("app{n}"), 11).expect("there is room");
        }
        assert_eq!(ask(99, "other", 11).expect_err("too many").kind, ErrorKind::Busy);
        assert_eq!(picks.get("0000", 10 + PICK_LIFE_S).expect_err("forgotten").kind, ErrorKind::NotFound);
        ask(99, "other", 10 + PICK_LIFE_S).expect("there is room again");
        // Answers that nobody fetches take no room for ever.
        for n in 200..400 {
            ask(n, "busy", 10 + PICK_LIFE_S).expect("each is answered at once");
            picks.answer(&format!("{n:04}"), None, 10 + PICK_LIFE_S).expect("answered");
        }
        assert!(picks.current(10 + PICK_LIFE_S).len() <= 2 * MAX_PICKS);
    }

    #[test]
    fn a_pick_is_answered_once() {
        let picks = Picks::default();
        picks.ask("1".to_owned(), by("chat"), 10).expect("asked");
        let (identity, peer) = (IdentityId::from([1; 32]), PeerId::from([2; 32]));
        let bob = PickedContact { identity, name: "bob".into(), peer, ztld: "z".into() };
        let answered = picks.answer("1", Some(bob.clone()), 11).expect("answered");
        assert_eq!((answered.state, answered.contact.as_ref()), (PickState::Picked, Some(&bob)));
        assert_eq!(picks.answer("1", None, 12).expect_err("once").kind, ErrorKind::Conflict);
        assert_eq!(picks.get("1", 12).expect("there").contact, Some(bob));
        assert_eq!(picks.answer("2", None, 12).expect_err("unknown").kind, ErrorKind::NotFound);
        picks.ask("4".to_owned(), by("other"), 12).expect("asked");
        picks.forget_app("chat");
        assert_eq!(picks.get("1", 12).expect_err("its app is gone").kind, ErrorKind::NotFound);
        assert!(picks.get("4", 12).is_ok());
        let long = PickContact { app: None, reason: "x".repeat(201) };
        assert_eq!(picks.ask("3".to_owned(), long, 12).expect_err("too long").kind, ErrorKind::InvalidInput);
        let tricky = PickContact { app: None, reason: "a\u{1b}[2J".to_owned() };
        assert_eq!(picks.ask("3".to_owned(), tricky, 12).expect_err("control").kind, ErrorKind::InvalidInput);
    }
}
