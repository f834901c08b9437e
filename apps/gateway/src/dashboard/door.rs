//! Who comes in: a token once, then a cookie that only this host gets and only its own pages send.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use maud::html;
use p2p_api::wire::query_value;

use super::Desk;
use super::layout;

/// Name of the cookie. It has no domain, so it belongs to this host alone; a site cannot set or see it.
const COOKIE: &str = "p2pnode_session";
/// Seconds a browser keeps it.
const COOKIE_SECONDS: u32 = 7 * 24 * 3600;

/// Lets a request pass with its [`super::sessions::Session`] as an extension, or shows how to get in.
pub(crate) async fn check(State(desk): State<Desk>, mut request: Request<Body>, next: Next) -> Response {
    let known = secrets(request.headers()).find_map(|secret| desk.sessions.find(secret));
    let token = request.uri().query().and_then(|query| query_value(query, "token"));
    if let Some(token) = token.filter(|_| *request.method() == Method::GET) {
        return match desk.sessions.enter(&token) {
            Ok(Some(secret)) => let_in(&secret),
            // Who comes back to a used address in a browser that is in already is not sent away.
            Ok(None) if known.is_some() => Redirect::to("/").into_response(),
            Ok(None) => outside("This address was used already, or is older than ten minutes."),
            Err(error) => outside(&error.message),
        };
    }
    match known {
        Some(session) => {
            request.extensions_mut().insert(session);
            next.run(request).await
        }
        None => outside("It opens for the user of this computer only."),
    }
}

fn let_in(secret: &str) -> Response {
    let cookie = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS}");
    // The token leaves the address bar.
    let mut response = Redirect::to("/").into_response();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// All values of our cookie: a page of another host may have set one of the same name, which must not lock the user out.
fn secrets(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

fn outside(why: &str) -> Response {
    let body = html! {
        h1 { "Your node’s dashboard" }
        p { (why) }
        p { "Open it from a terminal:" }
        pre { code { "p2p open" } }
    };
    (StatusCode::UNAUTHORIZED, layout::plain("Dashboard", &body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_cookie_is_read() {
        let headers = |value| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(value))]);
        let both = headers("a=1; p2pnode_session=abc; b=2; p2pnode_session=def");
        assert_eq!(secrets(&both).collect::<Vec<_>>(), ["abc", "def"]);
        for other in ["", "p2pnode_session", "xp2pnode_session=abc", "a=p2pnode_session=abc"] {
            assert_eq!(secrets(&headers(other)).next(), None, "{other}");
        }
    }
}
