//! What a form sends. It counts only with the token that was put into the form of the same session.

use std::collections::HashMap;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};

use super::layout;
use super::sessions::Session;

/// Name of the hidden field.
const TOKEN: &str = "form_token";

/// The fields of a form.
pub(crate) struct Fields {
    pub(crate) session: Session,
    values: HashMap<String, String>,
}

impl Fields {
    /// A field; empty if it was not sent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.values.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// The hidden field that every form needs.
pub(crate) fn token(session: &Session) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(session.form_token); }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, Response> {
        let session = request.extensions().get::<Session>().cloned();
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        let values: HashMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        let is_ours = |session: &Session| {
            // Hashes are compared, so that the time it takes tells nothing.
            let sent = values.get(TOKEN).map(String::as_str).unwrap_or_default();
            blake3::hash(sent.as_bytes()) == blake3::hash(session.form_token.as_bytes())
        };
        match session.filter(is_ours) {
            Some(session) => Ok(Self { session, values }),
            None => Err(stale_form()),
        }
    }
}

fn stale_form() -> Response {
    let body = html! {
        h1 { "Nothing was done" }
        p { "The form did not come from this page as it is now. Go back, load the page again, and repeat it." }
        p { a href="/" { "To the overview" } }
    };
    (StatusCode::FORBIDDEN, layout::plain("Nothing was done", &body)).into_response()
}
