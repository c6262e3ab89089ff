//! limitador-peer ADDR CACHE LIMIT SECONDS KEY...: the limitador crate, in memory, with one limit for each KEY, behind Envoy's rate
//! limit service. It does per request what limitador-server does, less its metrics and traces, so it is faster if anything.
use envoy_types::pb::envoy::service::ratelimit::v3::{
    rate_limit_response::Code,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
    RateLimitRequest, RateLimitResponse,
};
use limitador::limit::{Context, Limit};
use limitador::RateLimiter;
use std::collections::HashMap;
use tonic::{transport::Server, Request, Response, Status};

struct Peer(RateLimiter);

#[tonic::async_trait]
impl RateLimitService for Peer {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let asked = request.into_inner();
        let descriptors: Vec<HashMap<String, String>> = asked
            .descriptors
            .into_iter()
            .map(|d| d.entries.into_iter().map(|e| (e.key, e.value)).collect())
            .collect();
        let mut context = Context::default();
        context.list_binding("descriptors".to_string(), descriptors);
        let limited = self
            .0
            .check_rate_limited_and_update(&asked.domain.into(), &context, asked.hits_addend.max(1) as u64)
            .map_err(|e| Status::unavailable(e.to_string()))?
            .limited;
        let code = if limited { Code::OverLimit } else { Code::Ok };
        Ok(Response::new(RateLimitResponse { overall_code: code.into(), ..Default::default() }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    if args.len() < 6 {
        return Err("write limitador-peer ADDR CACHE LIMIT[,LIMIT...] SECONDS KEY...".into());
    }
    let limits: Vec<u64> = args[3].split(',').map(str::parse).collect::<Result<_, _>>()?;
    let seconds: u64 = args[4].parse()?;
    let limiter = RateLimiter::new(args[2].parse()?);
    for (i, key) in args[5..].iter().enumerate() {
        let limit = limits[i.min(limits.len() - 1)];
        let variable = format!("descriptors[0].{key}");
        limiter.add_limit(Limit::new("peers", limit, seconds, vec![], vec![variable.as_str().try_into()?]));
    }
    Server::builder().add_service(RateLimitServiceServer::new(Peer(limiter))).serve(args[1].parse()?).await?;
    Ok(())
}
