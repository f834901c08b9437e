//! What this computer could do at best, beside which a benchmark is read:
//!
//! ```text
//! cargo run --release -p p2p-drives --example limits -- FILE
//! ```
//!
//! Prints one `name value` a line, in MiB/s: `blake3` (one thread, the file read from the page cache), `tcp` (one
//! connection over loopback, nothing encrypted), `write` (the file's length written and made durable beside it).

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

const BUFFER_BYTES: usize = 256 * 1024;
const MIB: f64 = 1_048_576.0;

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).context("usage: limits FILE")?;
    let path = Path::new(&path);
    // Once to fill the page cache, once for the figure.
    hash(path)?;
    let (bytes, blake3) = hash(path)?;
    let rate = |time: Duration| bytes as f64 / MIB / time.as_secs_f64();
    println!("blake3 {:.0}", rate(blake3));
    println!("tcp {:.0}", rate(loopback(bytes)?));
    println!("write {:.0}", rate(write(&path.with_extension("limits"), bytes)?));
    Ok(())
}

fn hash(path: &Path) -> anyhow::Result<(u64, Duration)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut hasher = blake3::Hasher::new();
    let begun = Instant::now();
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => drop(hasher.update(&buffer[..read])),
        }
    }
    std::hint::black_box(hasher.finalize());
    Ok((hasher.count(), begun.elapsed()))
}

fn loopback(bytes: u64) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = std::thread::spawn(move || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        let buffer = vec![0; BUFFER_BYTES];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(BUFFER_BYTES as u64);
            stream.write_all(&buffer[..now as usize])?;
            left -= now;
        }
        Ok(())
    });
    let (mut stream, _) = listener.accept()?;
    let begun = Instant::now();
    let mut buffer = vec![0; BUFFER_BYTES];
    while stream.read(&mut buffer)? > 0 {}
    let time = begun.elapsed();
    sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    Ok(time)
}

fn write(path: &Path, bytes: u64) -> anyhow::Result<Duration> {
    let buffer = vec![0x5a; BUFFER_BYTES];
    let mut file = File::create(path)?;
    let begun = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(BUFFER_BYTES as u64);
        file.write_all(&buffer[..now as usize])?;
        left -= now;
    }
    file.sync_data()?;
    let time = begun.elapsed();
    std::fs::remove_file(path)?;
    Ok(time)
}
