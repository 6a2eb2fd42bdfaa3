//! One access token, requested only to find out whether Zoom accepts the configured credentials.

use super::{
    endpoint::{Endpoint, RequestError},
    secrets::Sources,
};
use crate::{
    failure::ZoomError,
    zoom::{config::ZoomConfig, upstream::Upstream},
};

/// Requests an access token, as the service would.
///
/// # Errors
/// The reason why there is no token, for operators; it contains no secrets.
pub(crate) async fn try_credentials(config: &ZoomConfig) -> Result<(), String> {
    let upstream = Upstream::new(config);
    let sources = Sources::new(config, upstream.redactor.clone());
    let secrets = sources.read().await.ok_or("a file of the credentials can no longer be read")?;
    let endpoint = Endpoint::new(upstream.clone(), config.request_timeout);
    let Err(error) = endpoint.request(&secrets).await else { return Ok(()) };
    Err(match (error, upstream.last_failure()) {
        (RequestError::Denied(zoom_error), _) => {
            format!("Zoom refuses the credentials: {}", answer(&zoom_error))
        }
        (_, Some(failure)) => {
            format!("{} cannot be reached: {} ({})", failure.host, failure.detail, failure.cause.as_str())
        }
        (RequestError::TimedOut, None) => "Zoom's token endpoint did not respond in time".to_owned(),
        (RequestError::RetryAfter { zoom_error, delay }, None) => {
            format!("Zoom asks to retry in {} s: {}", delay.as_secs(), answer(&zoom_error))
        }
        (RequestError::Transient(zoom_error) | RequestError::Permanent(zoom_error), None) => {
            let answer = zoom_error.as_ref().map_or_else(|| "the connection broke".to_owned(), answer);
            format!("Zoom's token endpoint sent no usable response: {answer}")
        }
    })
}

fn answer(zoom_error: &ZoomError) -> String {
    let status = format!("status {}", zoom_error.status);
    zoom_error.message.as_ref().map_or(status.clone(), |message| format!("{message} ({status})"))
}
