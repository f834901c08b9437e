//! What secures a TCP connection: TLS 1.3 first, Noise for peers that know only that.

use std::io;

use futures::future::{BoxFuture, Either};
use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise};

use crate::TlsError;
use crate::tls::Tls;

/// Both upgrades; the dialler proposes them in this order. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Security {
    tls: Tls,
    noise: noise::Config,
}

/// Why a connection could not be secured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecurityError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("Noise handshake")]
    Noise(#[from] noise::Error),
}

/// A secured connection.
type Secured<C> = (PeerId, Either<futures_rustls::TlsStream<C>, noise::Output<C>>);

impl Security {
    pub(crate) fn new(keypair: &Keypair) -> Result<Self, SecurityError> {
        Ok(Self { tls: Tls::new(keypair)?, noise: noise::Config::new(keypair)? })
    }

    fn is_tls(&self, info: &str) -> bool {
        self.tls.protocol_info().any(|known| known == info)
    }
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::iter::Chain<std::iter::Once<&'static str>, std::iter::Once<&'static str>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.tls.protocol_info().chain(self.noise.protocol_info())
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = Secured<C>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        async move {
            if self.is_tls(info) {
                let (peer, stream) = self.tls.upgrade_inbound(socket, info).await.map_err(failed)?;
                Ok((peer, Either::Left(stream)))
            } else {
                let (peer, stream) = self.noise.upgrade_inbound(socket, info).await.map_err(failed)?;
                Ok((peer, Either::Right(stream)))
            }
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = Secured<C>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        async move {
            if self.is_tls(info) {
                let (peer, stream) = self.tls.upgrade_outbound(socket, info).await.map_err(failed)?;
                Ok((peer, Either::Left(stream)))
            } else {
                let (peer, stream) = self.noise.upgrade_outbound(socket, info).await.map_err(failed)?;
                Ok((peer, Either::Right(stream)))
            }
        }
        .boxed()
    }
}

fn failed(error: impl Into<SecurityError>) -> io::Error {
    io::Error::other(error.into())
}
