//! Apps outside the node: what they asked for, what the user granted, what they do (specs/overlay.md, 2.4 to 2.6).
//!
//! An app shows its token with every call. The token lies in a file that only this user can read; the ledger has its hash.
//! What an app may do is decided by its scopes, and everything that no scope names is refused.

mod audit;
mod bandwidth;
mod live;
mod token;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use p2p_api::{ApiError, AppInfo, AppManifest, AppState, ErrorKind, Result, Scope};
use p2p_drives::{Batch, Ledger, LedgerTable};
use serde::{Deserialize, Serialize};

pub(crate) use self::audit::Audit;
use self::bandwidth::Shares;
pub(crate) use self::live::{Live, StreamPlace};
use self::token::TokenHash;

const TABLE: LedgerTable = LedgerTable::Apps;
/// Apps known at a time, those that wait for the user included.
const MAX_APPS: usize = 256;
/// Apps that wait for the user.
const MAX_PENDING: usize = 32;

/// Takes the id of an app.
type TellGone = Box<dyn Fn(&str) + Send + Sync>;

/// What is remembered of an app.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    manifest: AppManifest,
    state: AppState,
    #[serde(default)]
    asks_for: Option<AppManifest>,
    #[serde(default)]
    token: Option<TokenHash>,
}

struct Entry {
    row: Row,
    /// Of the token in use; a new one is another life.
    live: Arc<Live>,
}

/// An app that showed its token: what it may do and what it does.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) id: String,
    pub(crate) scopes: Arc<[Scope]>,
    pub(crate) storage: PathBuf,
    pub(crate) storage_quota: u64,
    /// Tells this token from earlier ones of the same app.
    pub(crate) token: String,
    pub(crate) live: Arc<Live>,
}

/// The apps of this node. Cheap to clone. All changes block on the disk.
#[derive(Clone)]
pub(crate) struct Grants {
    ledger: Arc<dyn Ledger>,
    folder: PathBuf,
    apps: Arc<Mutex<BTreeMap<String, Entry>>>,
    pub(crate) shares: Shares,
    pub(crate) audit: Audit,
    /// Told of apps that may nothing any more.
    when_gone: Arc<OnceLock<TellGone>>,
}

impl Grants {
    /// Calls this with the id of every app that is revoked or denied from now on; the first such call counts.
    pub(crate) fn tell_when_gone(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.when_gone.set(Box::new(tell));
    }

    fn gone(&self, id: &str) {
        if let Some(tell) = self.when_gone.get() {
            tell(id);
        }
    }

    /// Reads what the ledger has. Folders of apps lie below `home`.
    pub(crate) fn open(ledger: Arc<dyn Ledger>, home: &Path) -> Result<Self, String> {
        let (mut apps, shares) = (BTreeMap::new(), Shares::default());
        let rows = ledger.scan(TABLE, &[], None, MAX_APPS).map_err(|error| error.to_string())?;
        for (id, row) in rows {
            match (String::from_utf8(id), serde_json::from_slice::<Row>(&row)) {
                (Ok(id), Ok(row)) => drop(apps.insert(id, Entry { row, live: Arc::new(Live::new(&shares)) })),
                _ => tracing::warn!("what is remembered of an app cannot be read"),
            }
        }
        let audit = Audit::open(home.join("audit.log"));
        Ok(Self {
            ledger,
            folder: home.join("apps"),
            apps: Arc::new(Mutex::new(apps)),
            shares,
            audit,
            when_gone: Arc::default(),
        })
    }

    /// An app asks. What it was granted before stays as it is while it waits for more.
    pub(crate) fn request(&self, manifest: AppManifest) -> Result<AppInfo> {
        manifest.check()?;
        let mut apps = self.lock();
        let id = manifest.id.clone();
        let row = match apps.get(&id).map(|known| known.row.clone()) {
            Some(known) if known.state == AppState::Approved && asks_for_no_more(&manifest, &known.manifest) => {
                Row { manifest, asks_for: None, ..known }
            }
            Some(known) if known.state == AppState::Approved => Row { asks_for: Some(manifest), ..known },
            // Who was denied does not come back by asking again for the same.
            Some(known) if known.state == AppState::Denied && known.manifest == manifest => known,
            _ => {
                let waiting = apps.values().filter(|app| app.row.state == AppState::Pending).count();
                if !apps.contains_key(&id) && (waiting >= MAX_PENDING || apps.len() >= MAX_APPS) {
                    return Err(ApiError::new(ErrorKind::Busy, "too many apps wait for an answer")
                        .with_hint("see them with p2p app requests, and approve or deny them"));
                }
                Row { manifest, state: AppState::Pending, asks_for: None, token: None }
            }
        };
        self.write(&mut apps, &id, row)
    }

    /// The user decides. Approving makes a new token; the old one ends at once.
    pub(crate) fn decide(&self, id: &str, state: AppState) -> Result<AppInfo> {
        let mut apps = self.lock();
        let known = apps.get(id).map(|known| known.row.clone()).ok_or_else(|| unknown(id))?;
        let row = match state {
            AppState::Approved => {
                self.make_storage(id)?;
                let token = token::write(&self.token_file(id)).map_err(|error| disk(&error))?;
                let manifest = known.asks_for.unwrap_or(known.manifest);
                Row { manifest, state, asks_for: None, token: Some(token) }
            }
            AppState::Denied if known.asks_for.is_some() => Row { asks_for: None, ..known },
            AppState::Denied => Row { state, token: None, ..known },
            AppState::Pending => return Err(ApiError::invalid("decide for approved or denied")),
        };
        if row.token != apps.get(id).and_then(|known| known.row.token.clone()) {
            self.end(&mut apps, id);
        }
        let info = self.write(&mut apps, id, row)?;
        if info.state == AppState::Denied {
            token::remove(&self.token_file(id));
            self.gone(id);
        }
        Ok(info)
    }

    /// Takes back everything and forgets the app. Its folder stays.
    pub(crate) fn revoke(&self, id: &str) -> Result<()> {
        let mut apps = self.lock();
        if !apps.contains_key(id) {
            return Err(unknown(id));
        }
        let mut batch = Batch::new();
        batch.delete(TABLE, id.as_bytes());
        self.ledger.commit(&batch).map_err(|error| ApiError::new(ErrorKind::Io, error.to_string()))?;
        self.end(&mut apps, id);
        apps.remove(id);
        token::remove(&self.token_file(id));
        self.gone(id);
        Ok(())
    }

    pub(crate) fn list(&self) -> Vec<AppInfo> {
        let apps = self.lock();
        apps.iter().map(|(id, entry)| self.info(id, entry)).collect()
    }

    pub(crate) fn get(&self, id: &str) -> Result<AppInfo> {
        let apps = self.lock();
        apps.get(id).map(|entry| self.info(id, entry)).ok_or_else(|| unknown(id))
    }

    /// Whose token this is. Every stored hash is compared, so that the time tells nothing.
    pub(crate) fn by_token(&self, token: &str) -> Option<Grant> {
        let shown = TokenHash::of(token);
        let apps = self.lock();
        let mut found = None;
        for (id, entry) in apps.iter() {
            let is_it = entry.row.token.as_ref().is_some_and(|stored| stored.is(&shown));
            if is_it && entry.row.state == AppState::Approved {
                found = Some((id, entry));
            }
        }
        let (id, entry) = found?;
        Some(Grant {
            id: id.clone(),
            scopes: entry.row.manifest.parsed_scopes().unwrap_or_default().into(),
            storage: self.storage(id),
            storage_quota: entry.row.manifest.storage_quota,
            token: shown.tag(),
            live: entry.live.clone(),
        })
    }

    fn write(&self, apps: &mut BTreeMap<String, Entry>, id: &str, row: Row) -> Result<AppInfo> {
        let bytes = serde_json::to_vec(&row).map_err(|error| ApiError::internal(error.to_string()))?;
        let mut batch = Batch::new();
        batch.put(TABLE, id.as_bytes(), bytes);
        self.ledger.commit(&batch).map_err(|error| ApiError::new(ErrorKind::Io, error.to_string()))?;
        let live = || Arc::new(Live::new(&self.shares));
        let entry = apps.entry(id.to_owned()).or_insert_with(|| Entry { row: row.clone(), live: live() });
        entry.row = row;
        Ok(self.info(id, entry))
    }

    /// Ends what runs under the token in use.
    fn end(&self, apps: &mut BTreeMap<String, Entry>, id: &str) {
        if let Some(entry) = apps.get_mut(id) {
            entry.live.revoked.cancel();
            entry.live = Arc::new(Live::new(&self.shares));
        }
    }

    fn info(&self, id: &str, entry: &Entry) -> AppInfo {
        let Row { manifest, state, asks_for, token } = entry.row.clone();
        let live = &entry.live;
        AppInfo {
            manifest,
            state,
            asks_for,
            token_file: token.map(|_| self.token_file(id)),
            storage: self.storage(id),
            requests: live.requests(),
            requests_per_second: live.requests_per_second(),
            refused: live.refused(),
            streams: live.streams(),
            stream_bytes: live.stream_bytes(),
            bytes_per_second: live.bytes_per_second(),
        }
    }

    fn storage(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("storage")
    }

    fn token_file(&self, id: &str) -> PathBuf {
        self.folder.join(id).join("token")
    }

    fn make_storage(&self, id: &str) -> Result<()> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.storage(id));
        made.map_err(|error| disk(&error))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Every change is written before it is kept in memory, so a poisoned table is still whole.
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asks_for_no_more(new: &AppManifest, old: &AppManifest) -> bool {
    new.scopes.iter().all(|scope| old.scopes.contains(scope))
        && new.protocols.iter().all(|protocol| old.protocols.contains(protocol))
        && new.storage_quota <= old.storage_quota
        && (old.background || !new.background)
        // A name is what the user knows it by.
        && new.name == old.name
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("no app {id:?} has asked for anything")).with_hint("see them with p2p app ls")
}

fn disk(error: &io::Error) -> ApiError {
    ApiError::new(ErrorKind::Io, format!("cannot write the files of the app: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use p2p_drives::MemoryLedger;

    use super::*;

    fn manifest(scopes: &[&str]) -> AppManifest {
        AppManifest {
            id: "chat".into(),
            name: "Chat".into(),
            version: "1".into(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            protocols: Vec::new(),
            storage_quota: 0,
            background: false,
        }
    }

    #[test]
    fn a_token_is_made_by_approval_and_ends_with_it() {
        let home = tempfile::tempdir().expect("a folder");
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        let grants = Grants::open(ledger.clone(), home.path()).expect("opened");
        assert_eq!(grants.request(manifest(&["node.read"])).expect("asked").state, AppState::Pending);
        let info = grants.decide("chat", AppState::Approved).expect("approved");
        let file = info.token_file.expect("a token");
        assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        let token = std::fs::read_to_string(&file).expect("text");
        let grant = grants.by_token(token.trim()).expect("it is known");
        assert_eq!((grant.id.as_str(), grant.scopes.as_ref()), ("chat", &[Scope::NodeRead][..]));
        assert!(grants.by_token("").is_none() && grants.by_token(&token[1..]).is_none());

        let again = Grants::open(ledger, home.path()).expect("opened again");
        assert!(again.by_token(token.trim()).is_some(), "it outlives the node");
        again.decide("chat", AppState::Approved).expect("a new token");
        assert!(again.by_token(token.trim()).is_none(), "the old one is over");
        let token = std::fs::read_to_string(&file).expect("text");
        let grant = again.by_token(token.trim()).expect("the new one is known");
        let gone = Arc::new(Mutex::new(Vec::new()));
        let told = gone.clone();
        again.tell_when_gone(move |app| told.lock().expect("whole").push(app.to_owned()));
        again.revoke("chat").expect("revoked");
        assert_eq!(*gone.lock().expect("whole"), ["chat"]);
        assert!(grant.live.revoked.is_cancelled() && again.by_token(token.trim()).is_none() && !file.exists());
        assert_eq!(again.revoke("chat").expect_err("gone").kind, ErrorKind::NotFound);
    }

    #[test]
    fn asking_for_more_waits_for_the_user_and_keeps_what_was_granted() {
        let home = tempfile::tempdir().expect("a folder");
        let grants = Grants::open(Arc::new(MemoryLedger::default()), home.path()).expect("opened");
        grants.request(manifest(&["node.read", "dht.get"])).expect("asked");
        grants.decide("chat", AppState::Approved).expect("approved");
        let less = grants.request(manifest(&["node.read"])).expect("less is granted at once");
        assert!(less.asks_for.is_none() && less.manifest.scopes == ["node.read"]);
        let more = grants.request(manifest(&["node.read", "drives.write"])).expect("asked");
        assert_eq!((more.state, more.manifest.scopes.len()), (AppState::Approved, 1));
        let kept = grants.decide("chat", AppState::Denied).expect("not that much");
        assert_eq!((kept.state, kept.asks_for), (AppState::Approved, None));
        grants.request(manifest(&["drives.write"])).expect("asked");
        let granted = grants.decide("chat", AppState::Approved).expect("approved");
        assert_eq!(granted.manifest.scopes, ["drives.write"]);
    }

    #[test]
    fn strangers_cannot_fill_the_list() {
        let home = tempfile::tempdir().expect("a folder");
        let grants = Grants::open(Arc::new(MemoryLedger::default()), home.path()).expect("opened");
        for n in 0..MAX_PENDING {
            grants.request(AppManifest { id: format!("app{n}"), ..manifest(&[]) }).expect("asked");
        }
        assert_eq!(grants.request(manifest(&[])).expect_err("too many").kind, ErrorKind::Busy);
        grants.decide("app0", AppState::Denied).expect("denied");
        let denied = grants.request(AppManifest { id: "app0".into(), ..manifest(&[]) }).expect("asked again");
        assert_eq!(denied.state, AppState::Denied);
        grants.request(manifest(&[])).expect("there is room");
    }
}
