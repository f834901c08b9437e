//! `p2p api CALL…`: the local API by hand.

use std::io::{self, Read};

use clap::Args;
use futures::StreamExt;
use http::{Method, Request};
use p2p_api::wire::MAX_BODY_BYTES;
use p2p_client::RequestBody;

use crate::failure::{Failure, Result};
use crate::session::{Context, Need};

/// Makes a raw call of the local API and writes the answer's body to stdout.
#[derive(Args, Debug)]
#[command(after_help = "Example: p2p api GET /v1/node")]
pub(crate) struct Arguments {
    /// `GET /v1/node`; without a method it is GET, or POST with data.
    #[arg(value_name = "CALL", num_args = 1..=2, required = true)]
    call: Vec<String>,
    /// The body: JSON text, @FILE, or - for stdin.
    #[arg(short, long, value_name = "BODY", allow_hyphen_values = true)]
    data: Option<String>,
    /// A header, as `Accept: text/event-stream`; can be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<()> {
    let request = request(&arguments)?;
    context
        .with_node(Need::Running, async |console, client, _| {
            let answer = client.send(request).await?.ok().await?;
            let mut bytes = answer.into_stream();
            while let Some(piece) = bytes.next().await {
                console.write(&piece?)?;
            }
            Ok(())
        })
        .await
}

fn request(arguments: &Arguments) -> Result<Request<RequestBody>> {
    let (method, path) = match arguments.call.as_slice() {
        [path] if arguments.data.is_some() => (Method::POST, path),
        [path] => (Method::GET, path),
        [method, path] => {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes());
            (method.map_err(|error| Failure::usage(error.to_string()))?, path)
        }
        _ => return Err(Failure::usage("a call is a method and a path")),
    };
    if !path.starts_with('/') {
        return Err(Failure::usage_with_hint(
            format!("{path:?} is no path of the API"),
            "for example: p2p api GET /v1/node",
        ));
    }
    let mut request = Request::builder().method(method).uri(path);
    for header in &arguments.headers {
        let Some((name, value)) = header.split_once(':') else {
            return Err(Failure::usage(format!("{header:?} is no header: NAME: VALUE")));
        };
        request = request.header(name.trim(), value.trim());
    }
    let body = match &arguments.data {
        Some(data) => RequestBody::Json(read(data)?.into()),
        None => RequestBody::Empty,
    };
    request.body(body).map_err(|error| Failure::usage(format!("not a call: {error}")))
}

pub(super) fn read(data: &str) -> Result<Vec<u8>> {
    let limit = MAX_BODY_BYTES as u64 + 1;
    let mut body = Vec::new();
    let read = match data.strip_prefix('@') {
        Some(file) => std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut body)),
        None if data == "-" => io::stdin().take(limit).read_to_end(&mut body),
        None => return Ok(data.as_bytes().to_vec()),
    };
    read.map_err(|error| Failure::disk(&format!("read the body from {data:?}"), &error))?;
    if body.len() > MAX_BODY_BYTES {
        return Err(Failure::usage(format!("the body is larger than {MAX_BODY_BYTES} bytes")));
    }
    Ok(body)
}
