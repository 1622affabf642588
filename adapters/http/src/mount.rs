//! The API as a `tower` service, for routers and clients in the same process.

use crate::access::User;
use crate::body::{Body, BoxError};
use crate::service::ApiService;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyDataStream;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The API as a [`tower_service::Service`]: mount it in a router (axum's `nest_service`, say), or give it to a client that
/// speaks to services (kube's `Client::new`). Cheap to clone.
///
/// Who asks is told by [`HttpApi::as_user`], else by a [`User`] among the extensions of a request, where a layer of the host
/// puts it, else by a bearer token; who is none of these is answered with 401.
#[derive(Clone, Debug)]
pub struct HttpApi {
    service: ApiService,
    user: Option<User>,
}

impl HttpApi {
    /// The API of a service.
    pub fn new(service: ApiService) -> Self {
        HttpApi { service, user: None }
    }

    /// Every request is this user's, whatever it says: to be mounted behind the host's own authentication, or nowhere.
    #[must_use]
    pub fn as_user(self, user: User) -> Self {
        HttpApi { user: Some(user), ..self }
    }
}

impl<B> tower_service::Service<Request<B>> for HttpApi
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let HttpApi { service, user } = self.clone();
        let mut request = request.map(|body| {
            if body.is_end_stream() {
                return Body::empty();
            }
            Body::stream(Pieces(Box::pin(BodyDataStream::new(body))))
        });
        if let Some(user) = user {
            request.extensions_mut().insert(user);
        }
        Box::pin(async move { Ok(service.call(request).await) })
    }
}

/// The pieces of a body, with errors of one type.
struct Pieces<B>(Pin<Box<BodyDataStream<B>>>);

impl<B> futures_util::Stream for Pieces<B>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx).map(|piece| piece.map(|piece| piece.map_err(Into::into)))
    }
}
