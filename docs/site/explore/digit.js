// Draw a digit: the CNN of chapter 13 and the feed-forward net of chapter 01 read it.
"use strict";
{
  const said = (p) => `${p.indexOf(Math.max(...p))} (${Math.round(100 * Math.max(...p))} %)`;
  const put = page.paper((image, drawn) => {
    const readings = {};
    for (const net of ["cnn", "feedforward"]) {
      readings[net] = nets.run(net, image);
      readings[net].forEach((p, digit) => {
        page.byId(`${net}-${digit}`).textContent = drawn && `${Math.round(100 * p)} %`;
        page.byId(`${net}-${digit}`).style.setProperty("--share", drawn ? p : 0);
      });
    }
    page.byId("reading").textContent = drawn
      ? `The CNN reads ${said(readings.cnn)}, the feed-forward net ${said(readings.feedforward)}.`
      : "Nothing is drawn yet.";
    page.remember(drawn ? { drawn } : {});
  });
  const fromAddress = () => put(page.state({ drawn: "" }).drawn);
  page.followed(fromAddress);
  fromAddress();
}
