//! The people the user knows.

use std::collections::BTreeSet;

use p2p_api::{ApiError, ContactInfo, ErrorKind, RenameContact, Result, Verified, VerifyContact};
use p2p_identity::{Card, IdentityId, PairCode, PairCodeError, SecretKind, pairwise_secret, safety_number};
use p2p_names::{Label, ZoneKey};

use super::rows::{Changes, ContactRow, InviteRow};
use super::{Inner, People, blocking, ledger_error, now_ms};
use crate::keys::key_error;

/// Most contacts.
const MAX_CONTACTS: usize = 4_096;
/// Longest name of a contact, in bytes: one label of DNS as well.
const MAX_PETNAME_BYTES: usize = 63;
/// Bytes that a made name may give up at its end, so that it is one label in its normal form too.
const MAX_SHORTENING_BYTES: usize = 32;

impl People {
    /// Everybody, by name.
    pub(crate) fn contacts(&self) -> Result<Vec<ContactInfo>> {
        let mut all: Vec<ContactInfo> = {
            let rows = self.inner.rows();
            rows.contacts().iter().filter_map(|(id, row)| self.inner.info(id, row, rows.identity())).collect()
        };
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Whether the user calls somebody so.
    pub(crate) fn has_contact(&self, name: &str) -> bool {
        self.inner.rows().contacts().values().any(|row| row.name == name)
    }

    /// Another name.
    pub(crate) async fn rename_contact(&self, contact: &str, rename: RenameContact) -> Result<ContactInfo> {
        let id = self.inner.find(contact)?;
        blocking(&self.inner, move |inner| {
            let name = petname(rename.name.trim())?;
            if inner.names.zone_names().contains(&name) {
                return Err(ApiError::new(ErrorKind::Conflict, format!("a zone of this node is called {name}")));
            }
            let mut rows = inner.rows();
            if rows.contacts().iter().any(|(other, row)| *other != id && row.name == name) {
                return Err(ApiError::new(ErrorKind::Conflict, format!("another contact is called {name}")));
            }
            let row = rows.contacts().get(&id).cloned().ok_or_else(|| unknown(&name))?;
            let changed = ContactRow { name, ..row };
            rows.apply(Changes { contacts: vec![(id, Some(changed))], ..Changes::default() })
                .map_err(|error| ledger_error(&error))
        })
        .await?;
        self.inner.tell_contacts();
        self.inner.contact(&id)
    }

    /// Both have compared the number, one has scanned the code of the other, or the user believes who speaks for their zone now.
    pub(crate) async fn verify_contact(&self, contact: &str, verify: VerifyContact) -> Result<ContactInfo> {
        let id = self.inner.find(contact)?;
        let known = self.inner.contact(&id)?;
        let how = match &verify.scanned {
            Some(text) => {
                let (own, ..) = self.inner.own()?;
                check_code(text, &own.id(), &known)?;
                Verified::Scanned
            }
            None => {
                check_number(&verify.number, &known)?;
                Verified::Number
            }
        };
        if known.changed && !verify.accept_change {
            let message = format!("another identity now speaks for the zone of {}", known.name);
            return Err(ApiError::new(ErrorKind::Conflict, message)
                .with_hint("ask them; if they made a new identity, remove the contact and exchange a new invite"));
        }
        blocking(&self.inner, move |inner| {
            let mut rows = inner.rows();
            let row = rows.contacts().get(&id).cloned().ok_or_else(|| unknown(""))?;
            let changed = ContactRow { verified: how, changed: None, ..row };
            rows.apply(Changes { contacts: vec![(id, Some(changed))], ..Changes::default() })
                .map_err(|error| ledger_error(&error))
        })
        .await?;
        self.inner.tell_contacts();
        self.inner.contact(&id)
    }

    /// Forgets somebody. What they may write to stays until it is taken back.
    pub(crate) async fn remove_contact(&self, contact: &str) -> Result<()> {
        let id = self.inner.find(contact)?;
        blocking(&self.inner, move |inner| {
            let removed = inner.keys.open().remove(SecretKind::CONTACT, id.as_bytes());
            removed.map_err(|error| key_error(&error))?;
            inner
                .rows()
                .apply(Changes { contacts: vec![(id, None)], ..Changes::default() })
                .map_err(|error| ledger_error(&error))
        })
        .await?;
        self.inner.tell_contacts();
        self.inner.events.push("contacts", "contact.removed", serde_json::json!({ "identity": id }));
        Ok(())
    }
}

impl Inner {
    /// The identity of a contact, by name or identity.
    pub(super) fn find(&self, contact: &str) -> Result<IdentityId> {
        let rows = self.rows();
        let by_id = contact.parse::<IdentityId>().ok().filter(|id| rows.contacts().contains_key(id));
        let by_name = || rows.contacts().iter().find(|(_, row)| row.name == contact).map(|(id, _)| *id);
        by_id.or_else(by_name).ok_or_else(|| unknown(contact))
    }

    pub(super) fn contact(&self, id: &IdentityId) -> Result<ContactInfo> {
        let rows = self.rows();
        let row = rows.contacts().get(id).ok_or_else(|| unknown(&id.to_string()))?;
        let info = self.info(id, row, rows.identity());
        info.ok_or_else(|| ApiError::new(ErrorKind::Corrupt, "what the ledger has of the contact is damaged"))
    }

    fn info(&self, id: &IdentityId, row: &ContactRow, own: Option<&super::rows::IdentityRow>) -> Option<ContactInfo> {
        let own = own.map(|own| IdentityId::from(*blake3::hash(&own.genesis).as_bytes()))?;
        let peer = row.peer()?;
        Some(ContactInfo {
            identity: *id,
            name: row.name.clone(),
            own_name: row.own_name.clone(),
            verified: row.verified,
            peer,
            connected: self.network.is_connected(&peer),
            ztld: row.ztld.clone(),
            safety_number: safety_number(&own, id),
            code: PairCode { shown_by: own, shown_to: *id }.to_string(),
            changed: row.changed.is_some(),
            added: row.added,
        })
    }

    /// Takes in who is on a card, and marks the invite, in one write. Blocks on the disk.
    pub(super) fn add_contact(
        &self,
        card: &Card,
        invite: (p2p_identity::InviteId, InviteRow),
        addresses: Vec<String>,
    ) -> Result<IdentityId> {
        let id = card.identity();
        let (genesis, ..) = self.own()?;
        let agreed = self.device(&genesis.id())?.agreement.agree(&card.genesis.agreement);
        let agreed =
            agreed.ok_or_else(|| ApiError::new(ErrorKind::Corrupt, "the card's agreement key is worth nothing"))?;
        let zone = ZoneKey::from_bytes(&card.zone)
            .map_err(|error| ApiError::new(ErrorKind::Corrupt, format!("the card names no zone: {error}")))?;
        let secret = zeroize::Zeroizing::new(pairwise_secret(&agreed, &genesis.id(), &id));
        let zones = self.names.zone_names();
        let mut rows = self.rows();
        let known = rows.contacts().get(&id).cloned();
        if known.is_none() && rows.contacts().len() >= MAX_CONTACTS {
            return Err(ApiError::new(ErrorKind::StorageFull, format!("there are {MAX_CONTACTS} contacts, the limit")));
        }
        let stored = self.keys.open().insert_bytes(SecretKind::CONTACT, id.as_bytes(), secret.as_slice());
        stored.map_err(|error| key_error(&error))?;
        let (invite_id, row) = invite;
        let others = rows.contacts().iter().filter(|(other, _)| **other != id).map(|(_, row)| row.name.as_str());
        let taken: BTreeSet<&str> = others.chain(zones.iter().map(String::as_str)).collect();
        let wanted = row.name.as_deref().unwrap_or(&card.name);
        let name = known.as_ref().map_or_else(|| free_petname(wanted, &taken), |known| known.name.clone());
        let mut contact = ContactRow {
            genesis: card.genesis.as_bytes().to_vec(),
            certificate: card.certificate.as_bytes().to_vec(),
            name,
            own_name: card.name.clone(),
            ztld: zone.to_string(),
            verified: known.as_ref().map_or(Verified::No, |known| known.verified),
            changed: known.as_ref().and_then(|known| known.changed),
            added: known.as_ref().map_or_else(now_ms, |known| known.added),
            writers: known.as_ref().map(|known| known.writers.clone()).unwrap_or_default(),
            wanted: known.map(|known| known.wanted).unwrap_or_default(),
            addresses,
        };
        if row.in_person && contact.verified == Verified::No {
            contact.verified = Verified::InPerson;
        }
        if let (true, Some(drive)) = (row.is_ours, row.drive) {
            contact.wanted.push((drive, row.prefix.clone()));
        }
        let changes = Changes {
            contacts: vec![(id, Some(contact))],
            invites: vec![(invite_id, Some(row))],
            ..Changes::default()
        };
        rows.apply(changes).map_err(|error| ledger_error(&error))?;
        drop(rows);
        self.tell_contacts();
        self.events.push("contacts", "contact.added", serde_json::json!({ "identity": id }));
        Ok(id)
    }
}

fn unknown(contact: &str) -> ApiError {
    ApiError::not_found(format!("there is no contact {contact:?}")).with_hint("see them: p2p contact ls")
}

/// A name that can be part of names: one label.
/// The number as the other side reads it out.
fn check_number(number: &str, known: &ContactInfo) -> Result<()> {
    let digits = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    if digits(number) == digits(&known.safety_number) {
        return Ok(());
    }
    let message = format!("this is not the number you share with {}", known.name);
    let hint = "make sure that both read the number of each other; if they differ, somebody stands in between";
    Err(ApiError::new(ErrorKind::NotAllowed, message).with_hint(hint))
}

/// The code that the other side shows.
fn check_code(text: &str, own: &IdentityId, known: &ContactInfo) -> Result<()> {
    let code: PairCode = text.parse().map_err(|error: PairCodeError| {
        ApiError::invalid(error.to_string()).with_hint("they show it with: p2p contact verify YOU --qr")
    })?;
    code.check(own, &known.identity).map_err(|error| {
        let message = match error {
            PairCodeError::ShownToAnother => format!(
                "the code is not for you: {} knows you by another identity than yours; somebody may stand in between",
                known.name
            ),
            _ => format!(
                "the code is not of {}: it was shown by another identity than the one you know; somebody may stand in \
                 between",
                known.name
            ),
        };
        ApiError::new(ErrorKind::NotAllowed, message)
            .with_hint("make sure that they show the code for you; nothing was marked as verified")
    })
}

pub(super) fn petname(text: &str) -> Result<String> {
    let text = text.trim();
    let is_word = text.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    let is_plain = is_word && text.starts_with(char::is_alphanumeric) && text.len() <= MAX_PETNAME_BYTES;
    let is_taken =
        matches!(text, "alt" | "gns") || text.parse::<ZoneKey>().is_ok() || text.parse::<IdentityId>().is_ok();
    match text.parse::<Label>() {
        Ok(label) if is_plain && !is_taken => Ok(label.to_string()),
        _ => Err(ApiError::invalid(format!("{text:?} cannot be the name of a contact"))
            .with_hint("one word of letters, digits, - and _, such as bob, of at most 63 bytes")),
    }
}

/// A name for somebody, made of what they call themselves, that nobody else has.
fn free_petname(own_name: &str, taken: &BTreeSet<&str>) -> String {
    let words: Vec<String> =
        own_name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let text = words.join("-");
    let start = |bytes: usize| {
        let start = text.get(..text.floor_char_boundary(bytes)).unwrap_or_default();
        petname(start.trim_matches('-')).ok().filter(|name| name.len() <= bytes)
    };
    let named = |suffix: &str| {
        let room = MAX_PETNAME_BYTES.saturating_sub(suffix.len());
        let base = (room.saturating_sub(MAX_SHORTENING_BYTES)..=room).rev().find_map(start);
        format!("{}{suffix}", base.as_deref().unwrap_or("friend"))
    };
    let numbered = (2u32..).map(|number| named(&format!("-{number}")));
    let free = std::iter::once(named("")).chain(numbered).find(|name| !taken.contains(name.as_str()));
    free.unwrap_or_else(|| named(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_call_themselves_becomes_a_label_that_nobody_else_has() {
        let taken: BTreeSet<&str> = ["bob", "bob-2"].into();
        for (own_name, name) in
            [("Bob", "bob-3"), ("Anna  Müller ", "anna-müller"), ("...", "friend"), ("a.b", "a-b"), ("@", "friend")]
        {
            assert_eq!(free_petname(own_name, &taken), name, "{own_name:?}");
        }
        // 63 bytes are a label, and with a number behind it gives up some of its end, but no half letter.
        let (long, wide) = ("x".repeat(63), format!("{}ü", "y".repeat(61)));
        let taken: BTreeSet<&str> = [long.as_str(), wide.as_str()].into();
        assert_eq!(free_petname(&format!("{long}z"), &BTreeSet::new()), long);
        assert_eq!(free_petname(&long, &taken), format!("{}-2", "x".repeat(61)));
        assert_eq!(free_petname(&wide, &taken), format!("{}-2", "y".repeat(61)));
        for own_name in [&long, &wide] {
            let name = free_petname(own_name, &taken);
            assert!(name.len() <= MAX_PETNAME_BYTES && petname(&name).is_ok(), "{name}");
        }
        for bad in ["", "a.b", "@", "+", "a b", "x\u{7}", "\u{202e}x", "x\u{200b}", "*", "-x", "alt"] {
            assert!(petname(bad).is_err(), "{bad:?}");
        }
    }
}
