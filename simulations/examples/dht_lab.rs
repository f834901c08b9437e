//! Hundreds of real DHT nodes in one process, with time between them: calm, after a third of them fell silent, while half of them
//! are replaced, and with hostile nodes crowding beside a key, with regions and without.
//!
//!     cargo run -p p2p-simulations --example dht_lab -- [NODES] [FOLDER] [calm | churn]
//!
//! Writes `dht-lab.csv` (a line for each lookup), `dht-lab.svg` and `dht-lab.md` into the folder, which is
//! `simulations/reports` unless another is given.

#[path = "../../dht/tests/network/mod.rs"]
mod network;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::PeerId;
use network::{Got, Network, Node, Regions};

/// Keys of the calm network, each with its own publisher.
const KEYS: usize = 60;
/// Lookups of each of them, by different nodes.
const READERS: usize = 5;
/// Keys that are attacked, one after the other.
const ATTACKED: u8 = 6;
/// Hostile nodes beside each.
const HOSTILE: usize = 45;
/// Lookups of each attacked key.
const READERS_OF_ATTACKED: usize = 50;
/// Of a hundred nodes so many fall silent.
const SILENT_PERCENT: usize = 30;
/// Rounds of churn, in each of which one node of ten is replaced.
const ROUNDS: usize = 5;
/// Liars for each hundred honest nodes: of all nodes every fifth lies.
const LIARS_PERCENT: usize = 25;
/// Values put while they are silent.
const PUT_IN_SILENCE: usize = 10;
/// Lookups at a time.
const PARALLEL: usize = 4;

/// A message to a node takes 5 to 45 ms, so a round trip between two takes 50 ms in the mean.
fn delay(node: usize) -> Duration {
    Duration::from_millis(5 + (node as u64 * 7_919) % 41)
}

/// The lookups of one scenario.
struct Series {
    name: &'static str,
    colour: &'static str,
    /// Other nodes on which each value was stored.
    stored: Vec<usize>,
    /// How long that took, in milliseconds.
    put_ms: Vec<f64>,
    got: Vec<Got>,
    /// How many nodes there are, as nodes estimate it.
    sizes: Vec<f64>,
}

impl Series {
    fn new(name: &'static str, colour: &'static str) -> Self {
        Self { name, colour, stored: Vec::new(), put_ms: Vec::new(), got: Vec::new(), sizes: Vec::new() }
    }

    async fn put(&mut self, publisher: &Node, key: [u8; 32]) {
        let begun = Instant::now();
        self.stored.push(publisher.put(key, vec![1, 1]).await);
        self.put_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }

    fn found(&self) -> usize {
        self.got.iter().filter(|got| got.value.is_some()).count()
    }

    fn percent(&self) -> f64 {
        100.0 * self.found() as f64 / self.got.len().max(1) as f64
    }

    /// Milliseconds until the first answer of lookups that had one, sorted.
    fn times(&self) -> Vec<f64> {
        let found = self.got.iter().filter(|got| got.value.is_some());
        let mut times: Vec<f64> = found.map(|got| got.first.as_secs_f64() * 1_000.0).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    fn hops(&self) -> Vec<f64> {
        let mut hops: Vec<f64> = self.got.iter().filter(|got| got.hops > 0).map(|got| f64::from(got.hops)).collect();
        hops.sort_by(f64::total_cmp);
        hops
    }
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn key(number: u8) -> [u8; 32] {
    [number; 32]
}

/// Strangers to a key: nodes far from it, which store nothing of it.
fn strangers<'a>(network: &'a Network, key: &[u8; 32], count: usize, not: &HashSet<PeerId>) -> Vec<&'a Node> {
    let nearest = network.nearest(key);
    let far: Vec<PeerId> = nearest[nearest.len() / 3..].iter().filter(|id| !not.contains(id)).copied().collect();
    let step = (far.len() / count).max(1);
    let chosen: HashSet<PeerId> = far.into_iter().step_by(step).take(count).collect();
    network.nodes.iter().filter(|node| chosen.contains(&node.id)).collect()
}

async fn look_up(series: &mut Series, readers: Vec<(&Node, [u8; 32])>) {
    let lookups = futures::stream::iter(readers.into_iter().map(|(node, key)| node.get(key)));
    series.got.extend(lookups.buffer_unordered(PARALLEL).collect::<Vec<Got>>().await);
}

async fn calm_and_silent(nodes: usize) -> [Series; 2] {
    let begun = Instant::now();
    let network = Network::with_delay(nodes, Regions::With, delay).await;
    eprintln!("{nodes} nodes know each other after {:?}", begun.elapsed());
    let (mut calm, mut silent) = (Series::new("calm", "#2a7"), Series::new("30 % silent", "#27c"));
    let mut readers = Vec::new();
    for number in 0..KEYS {
        let key = key(number as u8);
        let publisher = strangers(&network, &key, 1, &HashSet::new())[0];
        calm.put(publisher, key).await;
        calm.sizes.push(publisher.table().await.1);
        readers.extend(strangers(&network, &key, READERS, &HashSet::from([publisher.id])).iter().map(|n| (*n, key)));
    }
    look_up(&mut calm, readers).await;
    eprintln!("{} of {} found, {:?}", calm.found(), calm.got.len(), begun.elapsed());
    // Those who look are spared.
    let mut spared = HashSet::new();
    for number in 0..12 {
        spared.extend(strangers(&network, &key(number), 2, &spared).iter().map(|node| node.id));
    }
    network.silence(nodes * SILENT_PERCENT / 100, &spared);
    let looking: Vec<&Node> = network.nodes.iter().filter(|node| spared.contains(&node.id)).collect();
    let readers = (0..KEYS * READERS).map(|n| (looking[n % looking.len()], key((n / READERS) as u8)));
    look_up(&mut silent, readers.collect()).await;
    // What is put now is found as well.
    for number in 0..PUT_IN_SILENCE {
        silent.put(looking[number % looking.len()], key((KEYS + number) as u8)).await;
    }
    let readers =
        (0..PUT_IN_SILENCE * READERS).map(|n| (looking[(n + 7) % looking.len()], key((KEYS + n / READERS) as u8)));
    look_up(&mut silent, readers.collect()).await;
    [calm, silent]
}

/// Values are put once; then nodes go, without a word, and others come. Nobody puts a value again.
async fn churning(nodes: usize) -> Series {
    let mut series = Series::new("half replaced", "#c80");
    let mut network = Network::with_delay(nodes, Regions::With, delay).await;
    for number in 0..KEYS {
        let key = key(number as u8);
        series.put(strangers(&network, &key, 1, &HashSet::new())[0], key).await;
    }
    for round in 1..=ROUNDS {
        network.replace(nodes / 10, Regions::With).await;
        let mut readers = Vec::new();
        for number in 0..KEYS {
            let key = key(number as u8);
            readers.extend(strangers(&network, &key, 1, &network.gone).iter().map(|node| (*node, key)));
        }
        look_up(&mut series, readers).await;
        eprintln!("{}: {} of {} found after {round} rounds", series.name, series.found(), series.got.len());
    }
    series
}

async fn crowded(nodes: usize, regions: Regions) -> Series {
    let (name, colour) = match regions {
        Regions::With => ("45 hostile beside the key", "#b52"),
        Regions::Without => ("the same without regions", "#999"),
    };
    let mut series = Series::new(name, colour);
    let mut network = Network::with_delay(nodes, regions, delay).await;
    for number in 0..ATTACKED {
        let key = key(200 + number);
        network.crowd(&key, HOSTILE).await;
        let publisher = strangers(&network, &key, 1, &HashSet::new())[0];
        series.put(publisher, key).await;
        let readers = strangers(&network, &key, READERS_OF_ATTACKED, &HashSet::from([publisher.id]));
        look_up(&mut series, readers.into_iter().map(|node| (node, key)).collect()).await;
        network.disperse().await;
        eprintln!("{name}: {} of {} found, stored on {:?}", series.found(), series.got.len(), series.stored);
    }
    series
}

async fn among_liars(nodes: usize) -> Series {
    let mut series = Series::new("every fifth lies", "#83a");
    let mut network = Network::with_delay(nodes, Regions::With, delay).await;
    network.liars(nodes * LIARS_PERCENT / 100).await;
    let mut readers = Vec::new();
    for number in 0..KEYS {
        let key = key(number as u8);
        let publisher = strangers(&network, &key, 1, &HashSet::new())[0];
        series.put(publisher, key).await;
        readers.extend(strangers(&network, &key, READERS, &HashSet::from([publisher.id])).iter().map(|n| (*n, key)));
    }
    look_up(&mut series, readers).await;
    eprintln!("{}: {} of {} found", series.name, series.found(), series.got.len());
    series
}

fn csv(all: &[Series]) -> String {
    let mut text = String::from("scenario,found,first_ms,hops,asked,region_walked\n");
    for series in all {
        for got in &series.got {
            let first = got.first.as_secs_f64() * 1_000.0;
            let (found, walked) = (u8::from(got.value.is_some()), u8::from(got.is_walked));
            let _ = writeln!(text, "{},{found},{first:.1},{},{},{walked}", series.name, got.hops, got.asked);
        }
    }
    text
}

/// Two panels: how many lookups found the value, and how long the first answer took.
fn svg(nodes: usize, all: &[Series]) -> String {
    const MAX_MS: f64 = 2_000.0;
    let mut text = String::from(
        "<svg xmlns='http://www.w3.org/2000/svg' width='860' height='320' font-family='sans-serif' font-size='12'>\n\
         <rect width='860' height='320' fill='white'/>\n",
    );
    let _ = writeln!(text, "<text x='20' y='24' font-size='14'>Lookups that find the value, {nodes} nodes</text>");
    for (at, series) in all.iter().enumerate() {
        let (y, width) = (36 + at * 46, series.percent() * 3.0);
        let _ = writeln!(text, "<text x='20' y='{}'>{}</text>", y + 12, series.name);
        let _ = writeln!(text, "<rect x='20' y='{}' width='300' height='20' fill='#eee'/>", y + 18);
        let _ = writeln!(
            text,
            "<rect x='20' y='{}' width='{width:.1}' height='20' fill='{}'/><text x='328' y='{}'>{:.1} %</text>",
            y + 18,
            series.colour,
            y + 33,
            series.percent()
        );
    }
    let _ = writeln!(text, "<text x='430' y='24' font-size='14'>Time until the first answer (of those found)</text>");
    let _ = writeln!(text, "<path d='M430 44V270H830' fill='none' stroke='#444'/>");
    for second in 0..=4 {
        let x = 430.0 + 100.0 * f64::from(second);
        let _ = writeln!(text, "<text x='{x}' y='288' text-anchor='middle'>{} ms</text>", second * 500);
    }
    for percent in [0, 50, 100] {
        let y = 270.0 - 2.26 * f64::from(percent);
        let _ = writeln!(text, "<text x='424' y='{y}' text-anchor='end'>{percent} %</text>");
    }
    for series in all {
        let times = series.times();
        let points = times.iter().enumerate().map(|(at, time)| {
            let x = 430.0 + 400.0 * time.min(MAX_MS) / MAX_MS;
            let y = 270.0 - 226.0 * (at + 1) as f64 / times.len() as f64;
            format!("{x:.1},{y:.1}")
        });
        let points: Vec<String> = points.collect();
        let _ = writeln!(
            text,
            "<polyline points='{}' fill='none' stroke='{}' stroke-width='2'/>",
            points.join(" "),
            series.colour
        );
    }
    text.push_str("</svg>\n");
    text
}

fn report(nodes: usize, all: &[Series], took: Duration) -> String {
    let mut text = format!(
        "# {nodes} real DHT nodes in one process\n\n\
         Real `Dht` behaviours over the in-memory transport with Noise and Yamux; a message takes 5 to 45 ms, a round trip 50 ms in\n\
         the mean. Repeat it with `just dht-lab {nodes}` (it took {} s here); each lookup is a line of `dht-lab.csv`.\n\n\
         ![found, and time until the first answer](dht-lab.svg)\n\n\
         | scenario | found | hops, median / p90 | first answer ms, median / p90 | nodes asked, mean | regions walked | stored on, median / least | put ms, median / p95 |\n\
         |---|---|---|---|---|---|---|---|\n",
        took.as_secs()
    );
    for series in all {
        let (hops, times) = (series.hops(), series.times());
        let asked: usize = series.got.iter().map(|got| got.asked).sum();
        let walked = series.got.iter().filter(|got| got.is_walked).count();
        let mut stored: Vec<f64> = series.stored.iter().map(|count| *count as f64).collect();
        stored.sort_by(f64::total_cmp);
        let stored = match stored.first() {
            None => "as before".to_owned(),
            Some(least) => format!("{:.0} / {least:.0}", quantile(&stored, 0.5)),
        };
        let mut puts = series.put_ms.clone();
        puts.sort_by(f64::total_cmp);
        let puts = match puts.as_slice() {
            [] => "-".to_owned(),
            puts => format!("{:.0} / {:.0}", quantile(puts, 0.5), quantile(puts, 0.95)),
        };
        let of = |values: &[f64]| match values {
            [] => "-".to_owned(),
            _ => format!("{:.0} / {:.0}", quantile(values, 0.5), quantile(values, 0.9)),
        };
        let _ = writeln!(
            text,
            "| {} | {} of {} ({:.1} %) | {} | {} | {:.0} | {walked} | {stored} | {puts} |",
            series.name,
            series.found(),
            series.got.len(),
            series.percent(),
            of(&hops),
            of(&times),
            asked as f64 / series.got.len().max(1) as f64,
        );
    }
    let mut sizes: Vec<f64> = all.first().map_or_else(Vec::new, |series| series.sizes.clone());
    sizes.sort_by(f64::total_cmp);
    let _ = write!(
        text,
        "\n**Estimate of the size**, by {} that had put something: median {:.0}, 10 % below {:.0}, 10 % above {:.0}.\n\n\
         **Silent**: {SILENT_PERCENT} % of the nodes stop reading in the same moment and close nothing, so nothing tells that they are\n\
         gone; the lookups begin at once.\n\n\
         **Half replaced**: {ROUNDS} rounds, in each of which every tenth node falls silent and as many new ones join; after each all\n\
         {KEYS} values are looked up, which were put once, before the first. Nobody puts them again.\n\n\
         **Lying**: as many more nodes that every fifth is hostile, anywhere, each known to half of the honest ones.\n\n\
         **Hostile**: {HOSTILE} nodes whose ids were ground until each lies nearer to the key than any honest node. They make\n\
         themselves known to the neighbours of the key, answer lookups with each other, acknowledge what is put and drop it. Then\n\
         the value is published, and looked for by {READERS_OF_ATTACKED} nodes that lie far from the key; {ATTACKED} keys, one after the other. \"Without\n\
         regions\" the same nodes store and look for values at the twenty nearest only, as Kademlia alone does.\n",
        sizes.len(),
        quantile(&sizes, 0.5),
        quantile(&sizes, 0.1),
        quantile(&sizes, 0.9),
    );
    text
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let nodes: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(300);
    let folder = arguments.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/reports").into());
    let folder = PathBuf::from(folder);
    let begun = Instant::now();
    let only = arguments.next();
    let mut all = Vec::new();
    if only.as_deref() != Some("churn") {
        all.extend(calm_and_silent(nodes).await);
        eprintln!("calm {:.1} %, silent {:.1} %, {:?}", all[0].percent(), all[1].percent(), begun.elapsed());
    }
    // `calm` as the third argument leaves it at these two, `churn` at the third.
    if only.as_deref() != Some("calm") {
        all.push(churning(nodes).await);
    }
    if only.is_none() {
        all.push(among_liars(nodes).await);
        all.push(crowded(nodes, Regions::With).await);
        all.push(crowded(nodes, Regions::Without).await);
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("dht-lab.csv"), csv(&all))?;
    std::fs::write(folder.join("dht-lab.svg"), svg(nodes, &all))?;
    let report = report(nodes, &all, begun.elapsed());
    std::fs::write(folder.join("dht-lab.md"), &report)?;
    println!("{report}");
    Ok(())
}
