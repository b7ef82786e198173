//! Status and numbers, once or as a stream.

use tonic::{Request, Response, Status};

use super::board::Board;
use super::feed::{Feed, Pace, feed, interval};
use super::pb;
use super::pb::metrics_service_server::MetricsService;
use super::pb::status_service_server::StatusService;
use super::translate;

/// Shows what is on the board.
#[derive(Clone, Debug)]
pub(super) struct Views(pub(super) Board);

#[tonic::async_trait]
impl StatusService for Views {
    type WatchStatusStream = Feed<pb::WatchStatusResponse>;

    async fn get_status(
        &self,
        _request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        Ok(Response::new(pb::GetStatusResponse { status: Some(translate::status(&self.0.now())) }))
    }

    async fn watch_status(
        &self,
        request: Request<pb::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let pace = Pace { every: interval(request.into_inner().interval_ms), on_change: true };
        let tell = |sample: &_| Some(pb::WatchStatusResponse { status: Some(translate::status(sample)) });
        Ok(Response::new(feed(self.0.clone(), pace, tell)))
    }
}

#[tonic::async_trait]
impl MetricsService for Views {
    type StreamMetricsStream = Feed<pb::StreamMetricsResponse>;

    async fn get_metrics(
        &self,
        _request: Request<pb::GetMetricsRequest>,
    ) -> Result<Response<pb::GetMetricsResponse>, Status> {
        Ok(Response::new(pb::GetMetricsResponse { metrics: Some(translate::metrics(&self.0.now())) }))
    }

    async fn stream_metrics(
        &self,
        request: Request<pb::StreamMetricsRequest>,
    ) -> Result<Response<Self::StreamMetricsStream>, Status> {
        let pace = Pace { every: interval(request.into_inner().interval_ms), on_change: false };
        let tell = |sample: &_| Some(pb::StreamMetricsResponse { metrics: Some(translate::metrics(sample)) });
        Ok(Response::new(feed(self.0.clone(), pace, tell)))
    }
}
