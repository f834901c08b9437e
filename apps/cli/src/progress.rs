//! A progress bar on a terminal; nothing anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use p2p_api::Progress;

use crate::console::Console;
use crate::human::{bytes, count, number};

const TEMPLATE: &str = "{spinner} [{bar:28}] {prefix}  {msg}";

/// A bar that goes away when it is dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(crate) fn new(console: &Console) -> Self {
        let target = if console.has_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        if console.has_progress() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Self { bar }
    }

    pub(crate) fn show(&self, progress: &Progress) {
        self.bar.set_length(progress.bytes_total.max(1));
        self.bar.set_position(progress.bytes_done);
        self.bar.set_prefix(amount(progress));
        self.bar.set_message(rate(progress));
    }

    /// Runs something that prints, with the bar out of the way.
    pub(crate) fn hidden_while<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// A state that has no numbers yet.
    pub(crate) fn message(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn amount(progress: &Progress) -> String {
    let Progress { files_done, files_total, bytes_done, bytes_total, .. } = progress;
    format!(
        "{} of {}, {} of {} files",
        bytes(*bytes_done),
        bytes(*bytes_total),
        number(*files_done),
        number(*files_total)
    )
}

fn rate(progress: &Progress) -> String {
    let mut parts = Vec::new();
    if progress.bytes_per_second >= 1.0 {
        parts.push(format!("{}/s", bytes(progress.bytes_per_second as u64)));
        let left = progress.bytes_total.saturating_sub(progress.bytes_done) as f64 / progress.bytes_per_second;
        if left >= 1.0 {
            parts.push(format!("{} left", crate::human::seconds(left)));
        }
    }
    if progress.peers > 0 {
        parts.push(count(u64::from(progress.peers), "peer", "peers"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_amount_rate_time_and_peers() {
        let progress = Progress {
            files_done: 3,
            files_total: 1_204,
            bytes_done: 10 << 20,
            bytes_total: 184 << 20,
            bytes_per_second: (2 << 20) as f64,
            peers: 2,
        };
        assert_eq!(amount(&progress), "10 MiB of 184 MiB, 3 of 1,204 files");
        assert_eq!(rate(&progress), "2.0 MiB/s, 87 s left, 2 peers");
        assert_eq!(rate(&Progress::default()), "");
    }
}
