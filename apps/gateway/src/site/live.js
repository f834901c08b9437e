// Reloads the page when its owner publishes a new version.
new EventSource("/.p2p/events").addEventListener("head", () => location.reload());
