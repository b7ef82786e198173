//! Stream Load on the wire: a frontend is asked, it names a backend, the backend gets the body.
//!
//! In: headers and a body. Out: the backend's answer, or which of the four kinds of failure it was. Always: the body
//! goes to no frontend; each hop gets every header again, credentials included, after its host was checked; no byte of
//! a body sent means nothing can be loaded, a byte sent and no answer means nobody knows.
//! (StarRocks documentation, STREAM LOAD; `LoadAction.java` answers 307 from the headers alone and demands
//! `Expect: 100-continue`.) Not here: what an answer means (`verdict`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use secrecy::SecretString;

use super::answer::{self, Answer};
use super::blocked::{Place, unencodable};
use super::encode::Body;
use super::http::{Connection, Method, Pool, Request, Response, SendError};
use super::options::{Frontend, Options};
use super::policy::Changed;
use super::reasons::Code;
use super::redirect::{Policy, Refusal};
use super::verdict::{Seen, Verdict, verdict};
use crate::model::Reason;
use crate::sink::LoadError;

/// Most redirects followed one after another.
const HOPS_MAX: usize = 3;
/// Time a frontend has for an answer, besides connecting.
const FRONTEND_TIME: Duration = Duration::from_secs(30);
/// How much longer than the server the client waits for a load.
const LOAD_MARGIN: Duration = Duration::from_secs(30);

/// One load to send.
#[derive(Debug)]
pub(super) struct Submission {
    /// The source table, for reasons.
    pub(super) object: String,
    /// The target table, for statements.
    pub(super) place: Place,
    /// Percent-encoded.
    pub(super) path: String,
    pub(super) headers: Vec<String>,
    pub(super) body: Body,
}

/// What a load was answered.
#[derive(Clone, Debug)]
pub(super) struct Replied {
    pub(super) verdict: Verdict,
    pub(super) http: u32,
    pub(super) answer: Answer,
    /// Size of the body.
    pub(super) bytes: u64,
    /// Its values that are not the source's own, if it may be in.
    pub(super) changed: Changed,
    /// Who answered.
    pub(super) node: Frontend,
}

/// Why a load has no answer.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    pub(super) error: LoadError,
    /// The body's values that are not the source's own, if it may be in nevertheless.
    pub(super) changed: Changed,
}

impl From<LoadError> for Box<Unanswered> {
    /// An error of which it is known that nothing is in.
    fn from(error: LoadError) -> Box<Unanswered> {
        Box::new(Unanswered { error, changed: Changed::default() })
    }
}

/// Everything that outlives one exchange.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) options: Arc<Options>,
    pub(super) pool: Arc<Pool>,
    policy: Policy,
    /// Addresses of nodes as the cluster listed them.
    nodes: RwLock<BTreeSet<String>>,
    /// The frontend that answered last.
    good: AtomicUsize,
}

impl Wire {
    pub(super) fn new(options: Arc<Options>) -> Wire {
        Wire {
            pool: Arc::new(Pool::new(options.connect_timeout, options.tls_ca.clone())),
            policy: Policy::new(&options.frontends, &options.redirect_allow, &options.redirect_map),
            nodes: RwLock::default(),
            good: AtomicUsize::new(0),
            options,
        }
    }

    /// Takes over the nodes the cluster listed; whether there are others than before.
    pub(super) fn learn(&self, nodes: BTreeSet<String>) -> bool {
        // The set is replaced whole, so a panic elsewhere cannot leave it half-written.
        let mut known = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, nodes) != *known
    }

    /// The frontends, the one that answered last first.
    fn frontends(&self) -> impl Iterator<Item = (usize, &Frontend)> {
        let all = &self.options.frontends;
        // Relaxed: a hint, any value is right.
        let first = self.good.load(Relaxed);
        (0..all.len()).map(move |n| (first + n) % all.len()).map(|at| (at, &all[at]))
    }

    fn password(&self) -> Result<SecretString, Reason> {
        self.options.current_password().map_err(|error| {
            Code::Auth.reason("", format!("the file with the sink's password cannot be read: {}", error.kind()))
        })
    }

    /// Sends a load.
    ///
    /// # Errors
    /// Whatever kept an answer from coming.
    pub(super) fn submit(
        &self,
        connection: &mut Connection<'_>,
        mut submission: Submission,
    ) -> Result<Replied, Box<Unanswered>> {
        let (object, place) = (submission.object, submission.place);
        // Finds what is wrong with a small load before anyone is bothered.
        submission.body.fill().map_err(|error| LoadError::Refused(unencodable(&object, &place, &error)))?;
        let password = self.password().map_err(LoadError::Refused)?;
        let (frontend, first) = self.announce(connection, &submission.path, &submission.headers, &password)?;
        let (mut node, mut response, mut body) = (frontend.clone(), first, submission.body);
        let mut begun = false;
        for _ in 0..HOPS_MAX {
            if !is_redirect(response.status) {
                break;
            }
            node = self.target(frontend, &response).map_err(LoadError::Refused)?;
            let request = Request {
                method: Method::Upload(Box::new(body)),
                path: &submission.path,
                headers: &submission.headers,
                credentials: Some((&self.options.user, &password)),
                total: self.options.load_timeout + LOAD_MARGIN,
            };
            let sent = connection.send(&node, request);
            body = connection.take_body().ok_or_else(|| {
                LoadError::Refused(Code::Contract.reason(object.clone(), "the body of a load got lost"))
            })?;
            response = match sent {
                Ok(response) => response,
                Err(error) => {
                    let error = upload_failed(&object, &place, &node, begun, error);
                    let may_be_in = matches!(error, LoadError::Unknown(_));
                    let changed = if may_be_in { body.changed_in_all() } else { Changed::default() };
                    return Err(Box::new(Unanswered { error, changed }));
                }
            };
            begun |= response.body_begun;
            if is_redirect(response.status) {
                body.rewind();
            }
        }
        if is_redirect(response.status) {
            return Err(LoadError::Refused(endless(&node)).into());
        }
        let replied = Replied { bytes: body.bytes(), ..replied(response, node, begun) };
        let changed = match replied.verdict {
            Verdict::Loaded | Verdict::LoadedBefore | Verdict::AskAboutLabel => body.changed_in_all(),
            Verdict::Retry(_) | Verdict::SlowDown(_) | Verdict::Refused(_) => Changed::default(),
        };
        Ok(Replied { changed, ..replied })
    }

    /// Asks the frontends in turn, without a body, where the body may go. Returns the first that answers at all.
    fn announce<'a>(
        &'a self,
        connection: &mut Connection<'_>,
        path: &str,
        headers: &[String],
        password: &SecretString,
    ) -> Result<(&'a Frontend, Response), LoadError> {
        let headers: Vec<String> = headers.iter().cloned().chain(["Expect: 100-continue".to_owned()]).collect();
        let answered = self.first_answer(connection, |connection, frontend| {
            let request = Request {
                method: Method::Put,
                path,
                headers: &headers,
                credentials: Some((&self.options.user, password)),
                total: self.options.connect_timeout + FRONTEND_TIME,
            };
            connection.send(frontend, request)
        });
        answered.map_err(|reason| match reason.class {
            crate::model::Class::Retry => LoadError::Retry(reason),
            _ => LoadError::Refused(reason),
        })
    }

    /// The first answer of a frontend that is not about to leave.
    fn first_answer(
        &self,
        connection: &mut Connection<'_>,
        mut send: impl FnMut(&mut Connection<'_>, &Frontend) -> Result<Response, SendError>,
    ) -> Result<(&Frontend, Response), Reason> {
        let mut leaving = None;
        let mut failures = Vec::new();
        let mut untrusted = None;
        for (at, frontend) in self.frontends() {
            match send(connection, frontend) {
                Ok(response) if response.status >= 500 => leaving = Some((frontend, response)),
                Ok(response) => {
                    // Relaxed: a hint, any value is right.
                    self.good.store(at, Relaxed);
                    return Ok((frontend, response));
                }
                Err(SendError::Tls(text)) => untrusted = Some(Code::Tls.reason(frontend.to_string(), text)),
                Err(error) => failures.push(format!("{frontend}: {error}")),
            }
        }
        if let Some(answered) = leaving {
            return Ok(answered);
        }
        Err(untrusted
            .unwrap_or_else(|| Code::Unreachable.reason("", format!("no frontend answers: {}", failures.join("; ")))))
    }

    /// Where an answer redirects to, if that is allowed.
    fn target(&self, frontend: &Frontend, response: &Response) -> Result<Frontend, Reason> {
        let location = response.location.as_deref().unwrap_or_default();
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let refused = |refusal: Refusal| Code::Redirect.reason(frontend.to_string(), format!("{refusal}"));
        match response.status {
            307 | 308 => self.policy.target(frontend, location, &nodes).map_err(refused),
            status => Err(Code::Redirect.reason(
                frontend.to_string(),
                format!("it redirects by HTTP {status}, which would lose the request's method or body"),
            )),
        }
    }

    /// The backend that a frontend names for a load of this path, without loading anything.
    ///
    /// # Errors
    /// What the frontend or the policy says instead.
    pub(super) fn backend(&self, connection: &mut Connection<'_>, path: &str) -> Result<Frontend, Reason> {
        let password = self.password()?;
        let (frontend, response) = match self.announce(connection, path, &[], &password) {
            Ok(answered) => answered,
            Err(
                LoadError::Retry(reason)
                | LoadError::SlowDown(reason)
                | LoadError::Unknown(reason)
                | LoadError::Refused(reason),
            ) => return Err(reason),
        };
        if is_redirect(response.status) {
            return self.target(frontend, &response);
        }
        let replied = replied(response, frontend.clone(), false);
        let (object, message) = (frontend.to_string(), told(&replied, &[]));
        Err(match replied.verdict {
            Verdict::Retry(code) | Verdict::SlowDown(code) => code.reason(object, message),
            Verdict::Refused(code) => code.waiting(object, message),
            Verdict::Loaded | Verdict::LoadedBefore | Verdict::AskAboutLabel => Code::Http.reason(object, message),
        })
    }

    /// A request without a body to a frontend, or to the leader it names.
    ///
    /// # Errors
    /// A [`Reason`] if nobody could be asked, or the credentials were refused.
    pub(super) fn ask(
        &self,
        connection: &mut Connection<'_>,
        post: bool,
        path: &str,
        with_credentials: bool,
    ) -> Result<Response, Reason> {
        let password = self.password()?;
        let send = |connection: &mut Connection<'_>, to: &Frontend| {
            let request = Request {
                method: if post { Method::Post } else { Method::Get },
                path,
                headers: &[],
                credentials: with_credentials.then_some((self.options.user.as_str(), &password)),
                total: self.options.connect_timeout + FRONTEND_TIME,
            };
            connection.send(to, request)
        };
        let (frontend, mut response) = self.first_answer(connection, send)?;
        let mut node = frontend.clone();
        for _ in 0..HOPS_MAX {
            if !is_redirect(response.status) {
                break;
            }
            node = self.target(&node, &response)?;
            response = send(connection, &node).map_err(|error| match error {
                SendError::Tls(text) => Code::Tls.reason(node.to_string(), text),
                error => Code::Unreachable.reason(node.to_string(), error.to_string()),
            })?;
        }
        match response.status {
            status if is_redirect(status) => Err(endless(&node)),
            401 | 403 => Err(Code::Auth.reason(node.to_string(), "the frontend refuses user or password")),
            _ => Ok(response),
        }
    }

    /// The start of a backend's error log. Its address comes from a server, so it must pass the policy, and no
    /// credentials go along.
    pub(super) fn error_log(&self, connection: &mut Connection<'_>, node: &Frontend, url: &str) -> Option<String> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone();
        let target = self.policy.target(node, url, &nodes).ok()?;
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}"))?;
        let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !plain || !path.starts_with("/api/_load_error_log?") {
            return None;
        }
        let total = self.options.connect_timeout + FRONTEND_TIME;
        let request = Request { method: Method::Get, path: &path, headers: &[], credentials: None, total };
        let response = connection.send(&target, request).ok()?;
        (response.status == 200).then(|| String::from_utf8_lossy(&response.body).into_owned())
    }
}

/// The answer judged, as if there were no body.
fn replied(response: Response, node: Frontend, body_begun: bool) -> Replied {
    let answer = Answer::read(&response.body).unwrap_or_default();
    let seen = Seen {
        http: response.status,
        status: &answer.status,
        existing_job: answer.existing_job.as_deref(),
        message: &answer.message,
        body_begun,
    };
    let verdict = verdict(&seen);
    Replied { verdict, http: response.status, answer, bytes: 0, changed: Changed::default(), node }
}

fn is_redirect(status: u32) -> bool {
    (300..400).contains(&status)
}

fn endless(node: &Frontend) -> Reason {
    Code::Redirect.reason(node.to_string(), format!("it redirects more than {HOPS_MAX} times"))
}

/// What a broken upload means. `earlier` tells whether an earlier hop got a part of the body: it answered, so that
/// nothing of it is in.
fn upload_failed(object: &str, place: &Place, node: &Frontend, earlier: bool, error: SendError) -> LoadError {
    match error {
        SendError::Encode(error) => LoadError::Refused(unencodable(object, place, &error)),
        SendError::Tls(text) => LoadError::Refused(Code::Tls.reason(node.to_string(), text)),
        SendError::Transport { text, body_begun: false } if !earlier => {
            LoadError::Retry(Code::Unreachable.reason(node.to_string(), format!("backend {node}: {text}")))
        }
        SendError::Transport { text, .. } => LoadError::Unknown(
            Code::FateUnknown.reason(object, format!("backend {node} did not answer a load: {text}")),
        ),
    }
}

/// What an answer says, fit for people.
pub(super) fn told(replied: &Replied, known: &[&str]) -> String {
    let message = answer::presentable(&replied.answer.message, known);
    match (replied.answer.status.as_str(), message.as_str()) {
        ("", _) => format!("{} answers HTTP {} without a result", replied.node, replied.http),
        (status, "") => format!("{} answers {}", replied.node, answer::presentable(status, known)),
        (status, message) => format!("{} answers {}: {message}", replied.node, answer::presentable(status, known)),
    }
}
