//! The network between the servers: a proxy for each directed pair, and links that can be cut.
//!
//! ```text
//! node 1 ── peers-of-1/node-2.address ──► proxy ──► node 2
//!                     requests  over link 1 → 2 ─────►
//!                     ◄─────── responses over link 2 → 1
//! ```
//!
//! A cut link carries nothing in its direction. As with TCP, bytes on their way wait, and arrive once the
//! link is back, perhaps long after their sender has given up. A new connection is made,
//! but carries nothing. If only one direction is cut, a request arrives and is carried out, and its response
//! is missing, or the other way round.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::driver::NODES;
use crate::server::addresses::Addresses;
use crate::server::types::NodeId;

/// Whether bytes pass from one server to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Cut,
}

/// The direction in which a server is cut off from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Both,
    /// It hears nothing.
    In,
    /// It is not heard.
    Out,
}

/// The links between all servers.
#[derive(Debug)]
pub(crate) struct Network {
    links: BTreeMap<(NodeId, NodeId), watch::Sender<Link>>,
    /// The proxies; they end when this is dropped.
    _proxies: JoinSet<()>,
}

/// The addresses of the others, as a server reaches them.
pub(crate) fn peers_of(cluster: &Path, id: NodeId) -> PathBuf {
    cluster.join(format!("peers-of-{id}"))
}

impl Network {
    /// Starts the proxies, and publishes their addresses.
    pub(crate) async fn start(cluster: &Path) -> io::Result<Self> {
        let pairs = (1..=NODES).flat_map(|from| (1..=NODES).map(move |to| (from, to)));
        let pairs: Vec<_> = pairs.filter(|(from, to)| from != to).collect();
        let links: BTreeMap<_, _> = pairs.iter().map(|pair| (*pair, watch::Sender::new(Link::Up))).collect();
        let mut proxies = JoinSet::new();
        for (from, to) in pairs {
            let peers = peers_of(cluster, from);
            std::fs::create_dir_all(&peers)?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            Addresses::new(&peers).publish(to, &listener.local_addr()?.to_string())?;
            let (there, back) = (links[&(from, to)].subscribe(), links[&(to, from)].subscribe());
            proxies.spawn(accept(listener, Proxy { to, addresses: Addresses::new(cluster), there, back }));
        }
        Ok(Network { links, _proxies: proxies })
    }

    /// Cuts links between a server and all others.
    pub(crate) fn cut(&self, id: NodeId, cut: Cut) {
        for ((from, to), link) in &self.links {
            if *from == id && cut != Cut::In || *to == id && cut != Cut::Out {
                link.send_replace(Link::Cut);
            }
        }
    }

    /// Brings all links back.
    pub(crate) fn heal(&self) {
        for link in self.links.values() {
            link.send_replace(Link::Up);
        }
    }
}

/// The way from one server to another, and back.
#[derive(Debug, Clone)]
struct Proxy {
    to: NodeId,
    addresses: Addresses,
    there: watch::Receiver<Link>,
    back: watch::Receiver<Link>,
}

async fn accept(listener: TcpListener, proxy: Proxy) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(proxy.clone().carry(near));
        while connections.try_join_next().is_some() {}
    }
}

impl Proxy {
    /// Carries bytes both ways until an end closes the connection.
    async fn carry(self, near: TcpStream) -> io::Result<()> {
        // A server has another address after each start.
        let far = TcpStream::connect(self.addresses.address(self.to)?).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
        tokio::select! {
            ended = one_way(near_out, far_in, self.there) => ended,
            ended = one_way(far_out, near_in, self.back) => ended,
        }
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let n = from.read(&mut bytes).await?;
        if n == 0 {
            return Ok(());
        }
        link.wait_for(|link| *link == Link::Up).await.map_err(io::Error::other)?;
        to.write_all(&bytes[..n]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends a byte to node 2 as node 1, and waits for the answer.
    async fn asks(cluster: &Path, byte: u8) -> Option<u8> {
        let proxy = Addresses::new(&peers_of(cluster, 1)).address(2).unwrap();
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await.ok()?.ok()
    }

    #[tokio::test]
    async fn each_direction_is_cut_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Addresses::new(dir.path()).publish(2, &address).unwrap();
        let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let arrived = arrived.clone();
                tokio::spawn(async move {
                    let byte = stream.read_u8().await.unwrap();
                    arrived.send(byte).unwrap();
                    stream.write_u8(byte + 100).await.unwrap();
                    stream.read_u8().await
                });
            }
        });
        let network = Network::start(dir.path()).await.unwrap();

        assert_eq!(asks(dir.path(), 1).await, Some(101));
        assert_eq!(arrivals.recv().await, Some(1));
        // The request arrives, its response doesn't.
        network.cut(2, Cut::Out);
        assert_eq!(asks(dir.path(), 2).await, None);
        assert_eq!(arrivals.recv().await, Some(2));
        network.heal();
        for (byte, id, cut) in [(3, 2, Cut::In), (4, 1, Cut::Out), (5, 2, Cut::Both), (6, 1, Cut::Both)] {
            network.cut(id, cut);
            assert_eq!(asks(dir.path(), byte).await, None);
            while let Ok(arrived) = arrivals.try_recv() {
                assert_ne!(arrived, byte, "{id} {cut:?}");
            }
            network.heal();
            assert_eq!(asks(dir.path(), 10 + byte).await, Some(110 + byte));
        }
        // Node 3's links are not those of 1 and 2.
        network.cut(3, Cut::Both);
        assert_eq!(asks(dir.path(), 20).await, Some(120));
    }
}
