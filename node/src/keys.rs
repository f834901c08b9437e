//! The keystore in the node: locked and unlocked, with a delay after wrong passphrases (specs/overlay.md, section 3).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER_PERMISSIVE;
use p2p_api::{ApiError, ErrorKind, KeystoreInfo, LockLevel, Passphrase, Result, SetPassphrase};
use p2p_identity::{
    AgreementKey, DataKey, KdfCost, Keystore, KeystoreError, MAX_PASSPHRASE_BYTES, NewPassphrase, PassphraseSlot,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// How long the first wrong passphrase holds up the next one; doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The delay grows no further.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The handle. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    keystore: Arc<Mutex<Keystore>>,
    locked: watch::Sender<bool>,
    /// Passphrases are sealed for it on their way here.
    sealing: AgreementKey,
    /// One passphrase is tried at a time: each takes much memory.
    tries: tokio::sync::Mutex<Tries>,
    used: Mutex<Instant>,
    level: LockLevel,
    /// Asks whoever runs the node to close it; `None` where nobody could start it again.
    closing: OnceLock<CancellationToken>,
}

/// Wrong passphrases since the last right one.
#[derive(Default)]
struct Tries {
    wrong: u32,
    next: Option<Instant>,
}

impl Tries {
    fn admit(&self, now: Instant) -> Result<()> {
        match self.next.and_then(|next| next.checked_duration_since(now)) {
            Some(left) if !left.is_zero() => Err(ApiError::new(
                ErrorKind::Busy,
                format!("after a wrong passphrase the next one waits: {:.1} s more", left.as_secs_f64()),
            )),
            _ => Ok(()),
        }
    }

    fn failed(&mut self, now: Instant) {
        let delay = FIRST_DELAY.saturating_mul(1 << self.wrong.min(10)).min(MAX_DELAY);
        self.wrong = self.wrong.saturating_add(1);
        self.next = Some(now + delay);
    }
}

impl Keys {
    pub(crate) fn new(keystore: Keystore, level: LockLevel) -> Self {
        let locked = watch::Sender::new(keystore.is_locked());
        let inner = Inner {
            keystore: Arc::new(Mutex::new(keystore)),
            locked,
            sealing: AgreementKey::generate(),
            tries: tokio::sync::Mutex::default(),
            used: Mutex::new(Instant::now()),
            level,
            closing: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whoever runs the node closes it when [`Keys::closing_requested`] resolves, and starts it again later.
    pub(crate) fn allow_closing(&self) {
        self.inner.closing.get_or_init(CancellationToken::new);
    }

    /// Resolves when it is to be closed; never where nobody would.
    pub(crate) async fn closing_requested(&self) {
        match self.inner.closing.get() {
            Some(closing) => closing.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// The keystore itself, for who reads keys. Not held over anything that takes long.
    pub(crate) fn keystore(&self) -> Arc<Mutex<Keystore>> {
        self.inner.keystore.clone()
    }

    /// For a short look or change; changes block on the disk.
    pub(crate) fn open(&self) -> MutexGuard<'_, Keystore> {
        self.inner.keystore.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether they are locked, and when that changes.
    pub(crate) fn locked(&self) -> watch::Receiver<bool> {
        self.inner.locked.subscribe()
    }

    pub(crate) fn is_locked(&self) -> bool {
        *self.inner.locked.borrow()
    }

    /// How they are kept.
    pub(crate) fn info(&self) -> KeystoreInfo {
        let keystore = self.open();
        let can_close = self.inner.closing.get().is_some();
        KeystoreInfo {
            protected: keystore.is_protected(),
            locked: keystore.is_locked(),
            level: if can_close { self.inner.level } else { LockLevel::Identity },
            closed: false,
            sealing_key: data_encoding::HEXLOWER.encode(&self.inner.sealing.public()),
        }
    }

    /// Wipes them. What needs one waits from now on. At the level `Full` (`None`: what the setting says) whoever runs the
    /// node closes all the rest; where nobody can, a setting closes the keys alone.
    pub(crate) fn lock(&self, level: Option<LockLevel>) -> Result<KeystoreInfo> {
        let closing = self.inner.closing.get();
        if level == Some(LockLevel::Full) && closing.is_none() {
            return Err(ApiError::new(
                ErrorKind::Unsupported,
                "this node runs inside a command, and nobody could start it again",
            )
            .with_hint("end the command"));
        }
        let locked = self.open().lock();
        locked.map_err(|error| key_error(&error))?;
        self.inner.locked.send_replace(true);
        tracing::info!("the keys are locked");
        if let (LockLevel::Full, Some(closing)) = (level.unwrap_or(self.inner.level), closing) {
            closing.cancel();
        }
        Ok(self.info())
    }

    /// Opens them with the passphrase.
    pub(crate) async fn unlock(&self, passphrase: &Passphrase) -> Result<KeystoreInfo> {
        if !self.info().protected {
            return Err(key_error(&KeystoreError::NoPassphrase));
        }
        let text = self.read(passphrase)?;
        self.check(&mut *self.inner.tries.lock().await, text, true).await?;
        self.inner.locked.send_replace(false);
        self.touch();
        tracing::info!("the keys are unlocked");
        Ok(self.info())
    }

    /// Sets, changes or takes away the passphrase.
    pub(crate) async fn set_passphrase(&self, set: &SetPassphrase) -> Result<KeystoreInfo> {
        if self.is_locked() {
            return Err(ApiError::locked());
        }
        let new = set.new.as_ref().map(|new| self.read(new)).transpose()?;
        // Held to the end: of two who set the first passphrase at once, the second has to know that of the first.
        let mut tries = self.inner.tries.lock().await;
        if self.info().protected {
            let current = set.current.as_ref().ok_or_else(|| {
                ApiError::new(ErrorKind::NotAllowed, "the passphrase there is has to be told to change it")
            })?;
            let current = self.read(current)?;
            self.check(&mut tries, current, false).await?;
        }
        let keys = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let new = new.as_ref().map(|new| (new.as_slice(), KdfCost::calibrated(Some(total_memory()))));
            let new = NewPassphrase::new(new).map_err(|error| key_error(&error))?;
            keys.open().set_passphrase(&new).map_err(|error| key_error(&error))
        });
        done.await.map_err(|error| ApiError::internal(error.to_string()))??;
        Ok(self.info())
    }

    /// Somebody used the node: the timer that locks by itself begins again.
    pub(crate) fn touch(&self) {
        *self.inner.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Locks when nobody has used the node for so long. Runs until it is dropped.
    pub(crate) async fn lock_when_idle(self, after: Duration) {
        let mut locked = self.locked();
        loop {
            if locked.wait_for(|locked| !locked).await.is_err() {
                return;
            }
            let idle = self.inner.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            match after.checked_sub(idle) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ if self.lock(None).is_ok() => {}
                // No passphrase yet.
                _ => tokio::time::sleep(after).await,
            }
        }
    }

    /// Tries a passphrase; the right one may open the keystore.
    async fn check(&self, tries: &mut Tries, passphrase: Zeroizing<Vec<u8>>, unlock: bool) -> Result<()> {
        tries.admit(Instant::now())?;
        let keys = self.clone();
        let tried = tokio::task::spawn_blocking(move || {
            let slot = keys.open().passphrase_slot()?;
            let slot = slot.ok_or(KeystoreError::NoPassphrase)?;
            let key = slot.open(&passphrase)?;
            if unlock {
                keys.open().unlock(&key)?;
                keys.renew(&slot, &passphrase, &key);
            }
            Ok(())
        });
        match tried.await.map_err(|error| ApiError::internal(error.to_string()))? {
            Ok(()) => *tries = Tries::default(),
            Err(error) => {
                if matches!(error, KeystoreError::WrongPassphrase) {
                    tries.failed(Instant::now());
                }
                return Err(key_error(&error));
            }
        }
        Ok(())
    }

    /// A passphrase that was set when guessing was to cost less than today is sealed anew. Takes a second or two, once; where
    /// it fails, all stays as it was.
    fn renew(&self, slot: &PassphraseSlot, passphrase: &[u8], key: &DataKey) {
        let memory = Some(total_memory());
        if !slot.cost().is_below(KdfCost::usual(memory)) {
            return;
        }
        let renewed = PassphraseSlot::renewed(passphrase, key, KdfCost::calibrated(memory));
        match renewed.and_then(|slot| self.open().renew(&slot)) {
            Ok(()) => tracing::info!("guessing the passphrase costs as much as a new one's from now on"),
            Err(error) => tracing::warn!(%error, "the passphrase stays as cheap to guess as it was"),
        }
    }

    fn read(&self, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>> {
        let text = match (&passphrase.sealed, &passphrase.plain) {
            (Some(sealed), None) => {
                let sealed = HEXLOWER_PERMISSIVE.decode(sealed.as_bytes()).ok();
                let opened = sealed.and_then(|sealed| self.inner.sealing.open(&sealed));
                opened.ok_or_else(|| {
                    ApiError::invalid("the passphrase is not sealed for this node")
                        .with_hint("its key is another one after every start: GET /v1/keystore")
                })?
            }
            (None, Some(plain)) => Zeroizing::new(plain.as_bytes().to_vec()),
            _ => return Err(ApiError::invalid("a passphrase is told either sealed or plain")),
        };
        if text.is_empty() || text.len() > MAX_PASSPHRASE_BYTES {
            return Err(key_error(&KeystoreError::BadPassphrase));
        }
        Ok(text)
    }
}

/// Memory of the computer, in bytes.
#[allow(clippy::useless_conversion, reason = "on 32 bits the system counts in u32")]
fn total_memory() -> u64 {
    let system = rustix::system::sysinfo();
    u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit))
}

/// What went wrong with the keystore.
pub(crate) fn key_error(error: &KeystoreError) -> ApiError {
    match error {
        KeystoreError::Locked => ApiError::locked(),
        KeystoreError::WrongPassphrase => ApiError::new(ErrorKind::NotAllowed, error.to_string()),
        KeystoreError::NoPassphrase => {
            ApiError::new(ErrorKind::Conflict, error.to_string()).with_hint("set one: p2p passphrase")
        }
        KeystoreError::BadPassphrase => ApiError::invalid(error.to_string()),
        KeystoreError::ForeignSlots => ApiError::new(ErrorKind::Unsupported, error.to_string()),
        KeystoreError::TooLarge { .. } => ApiError::new(ErrorKind::StorageFull, error.to_string()),
        error => ApiError::new(ErrorKind::Io, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_passphrase_holds_up_the_next_one_twice_as_long_up_to_half_a_minute() {
        let (mut tries, mut now) = (Tries::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..12 {
            tries.admit(now).expect("its time has come");
            tries.failed(now);
            assert_eq!(tries.admit(now).expect_err("too soon").kind, ErrorKind::Busy);
            let next = tries.next.expect("it failed");
            delays.push((next - now).as_secs_f64());
            now = next;
        }
        assert_eq!(delays[..7], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]);
        assert_eq!(delays[11], 30.0);
    }

    #[tokio::test]
    async fn a_passphrase_that_was_cheap_to_guess_is_sealed_anew_when_it_is_told() {
        let home = tempfile::tempdir().expect("a directory");
        let mut keystore = Keystore::open_or_create(home.path()).expect("a keystore");
        let of_old = KdfCost { memory_kib: 1_024, passes: 1, lanes: 1 };
        keystore.set_passphrase(&NewPassphrase::new(Some((b"words", of_old))).expect("words")).expect("set");
        keystore.lock().expect("locked");
        let cost = || {
            let keystore = Keystore::open_or_create(home.path()).expect("a keystore");
            keystore.passphrase_slot().expect("readable").expect("a slot").cost()
        };
        let keys = Keys::new(keystore, LockLevel::Identity);
        let told = |text: &str| Passphrase { plain: Some(text.to_owned()), sealed: None };
        assert!(keys.unlock(&told("other")).await.is_err());
        assert_eq!(cost(), of_old, "only who knows it can do that");
        keys.inner.tries.lock().await.next = None;
        keys.unlock(&told("words")).await.expect("unlocked");
        let renewed = cost();
        assert!(!renewed.is_below(KdfCost::usual(Some(total_memory()))), "{renewed:?}");
        keys.lock(None).expect("locked");
        keys.unlock(&told("words")).await.expect("the same passphrase");
        assert_eq!(cost(), renewed, "once");
    }
}
