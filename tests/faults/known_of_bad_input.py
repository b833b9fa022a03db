"""What ``test_bad_input`` found: function, argument and faults that it does not bear, by what comes of them."""

FOUND = {
    "makes a NaN of finite numbers": """
        metrics.classification.certainty logits: constant
        metrics.divergences.kl_kernel a: constant
        metrics.divergences.kl_kernel b: constant
        metrics.divergences.js_kernel a: constant
        metrics.divergences.js_kernel b: constant
        metrics.divergences.sliced_emd projections: zero
        metrics.divergences.report_emd a: empty
        metrics.divergences.report_emd b: empty
        metrics.divergences.report_mmd a: empty
        metrics.divergences.report_mmd b: empty
        metrics.divergences.report_mmd_loops width: zero
        metrics.latent.label z: constant, integers
        metrics.quality.ssim a: huge
        metrics.quality.ssim b: huge
        models.vae.log_likelihood x: huge
        training.gan.bce logits: empty
        training.gan.discriminator_scores on_real: empty
        training.gan.discriminator_scores on_fake: empty
        training.vae.negative_elbo images: empty, huge
    """,
    "hides a NaN": """
        metrics.divergences.emd a: nan
        metrics.divergences.emd b: nan
        metrics.latent.nearest_mean z: nan
        metrics.latent.nearest_mean means: nan
        metrics.latent.neighbour_shares codes: nan
        metrics.quality.manifold_metrics real: nan
        metrics.quality.manifold_metrics fake: nan
        data.tensors.to_uint8 images: nan
        training.gan.real_share images: nan
    """,
    "stops with an error that does not say what is wrong": """
        metrics.classification.certainty logits: integers
        metrics.divergences.kl_neighbours k: nan, zero
        metrics.divergences.report_kl a: another dimension, flat
        metrics.divergences.report_kl b: another dimension, flat
        metrics.divergences.report_mmd width: large, zero
        metrics.divergences.report_mmd_loops a: empty
        metrics.divergences.report_mmd_loops b: empty
        metrics.divergences.report_mmd_loops width: large
        metrics.intervals.interval values: huge
        metrics.intervals.interval others: huge
        metrics.intervals.low values: huge
        metrics.intervals.high values: huge
        metrics.intervals.interval_text values: huge
        metrics.latent.class_means z: flat
        metrics.latent.class_means labels: beyond, constant
        metrics.latent.class_means classes: large, negative
        metrics.latent.nearest_mean means: empty
        metrics.latent.normal_fit codes: empty, nan, one
        metrics.latent.trustworthiness inputs: empty, nan, one
        metrics.quality.frechet_distance a: empty, nan, one
        metrics.quality.frechet_distance b: empty, nan
        metrics.quality.manifold_metrics k: zero
        metrics.quality.assess images: empty, nan, one
        metrics.quality.assess real_features: empty, nan, one
        data.tensors.random_shift images: another dimension, flat
        data.tensors.random_shift pixels: negative
        data.single_cell.log_normalised totals: another dimension
        data.single_cell.pca_scores values: constant, empty, one
        data.single_cell.pca_scores fitted: another dimension, beyond, constant
        training.gan.real_share images: empty
        training.gan.train_gan batch_size: zero
        training.autoencoder.reconstruction_error inputs: empty
        training.autoencoder.train_autoencoder train: empty
        training.autoencoder.train_autoencoder batch_size: zero
        training.vae.train_vae train: empty
        training.vae.train_vae batch_size: zero
        training.classifier.train_classifier train: empty, negative labels
        training.classifier.train_classifier batch_size: zero
        plots.mosaic images: another dimension
        plots.mosaic columns: nan, zero
    """,
}
KNOWN = {
    (*place.split(), fault): what
    for what, lines in FOUND.items()
    for place, faults in (line.split(": ") for line in lines.strip().splitlines())
    for fault in faults.split(", ")
}
