pub async fn facts(cx: &crate::aws::Context, _stack: &crate::stack::Stack) -> crate::aws::Result<super::Facts> {
    Ok(super::Facts {
        account: cx.account().await?.to_owned(),
        partition: "aws".into(),
        region: cx.region.clone(),
        images: Default::default(),
    })
}
