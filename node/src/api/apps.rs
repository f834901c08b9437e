//! `/v1/apps/{app}/…`: hands requests to the apps of this process.

use axum::extract::{Request, State};
use axum::response::Response;
use p2p_api::{ApiError, AppRequest};

use super::body::{At, app_response, read_body};
use super::problem::Refusal;
use super::router::Server;

pub(super) async fn handle(
    State(server): State<Server>,
    At((name, path)): At<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let Some(app) = server.apps.get(name.as_str()) else {
        let known: Vec<_> = server.apps.keys().copied().collect();
        let error = ApiError::not_found(format!("this node has no app {name:?}"));
        return Err(error.with_hint(format!("it has: {}", known.join(", "))).into());
    };
    let (parts, body) = request.into_parts();
    let request = AppRequest {
        method: parts.method,
        path,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: read_body(body).await?,
    };
    Ok(app_response(app.handle(&server.node, request).await))
}
