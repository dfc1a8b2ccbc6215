(function () {
  var slider = document.getElementById("count-slider");
  var label = document.getElementById("count-label");
  var dots = Array.from(document.querySelectorAll("#picked circle"));
  var budget = Number(slider.dataset.budget);
  slider.closest(".slider").hidden = false;
  function showFirstPicks() {
    // The slider moves in equal ratios, because the first picks differ most and are the fewest.
    var count = Math.round(Math.pow(budget, slider.value / slider.max));
    label.textContent = "First " + count.toLocaleString("en") + (count === 1 ? " pick" : " picks");
    dots.forEach(function (dot) {
      dot.style.display = Number(dot.dataset.rank) < count ? "" : "none";
    });
  }
  slider.addEventListener("input", showFirstPicks);
  showFirstPicks();
})();
