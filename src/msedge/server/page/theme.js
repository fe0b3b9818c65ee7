/** Light or dark: as the system says, until the switch is used; then as it was left. */

const KEY = "msedge-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

let choice = remembered();

function apply() {
  document.documentElement.dataset.theme = choice ?? (system.matches ? "dark" : "light");
  document.dispatchEvent(new Event("themechange"));
}

/** Make a button the switch. */
export function startTheme(button) {
  const label = button.querySelector("span");
  const icon = button.querySelector("use");
  const tell = () => {
    const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    label.textContent = other === "dark" ? "Dark" : "Light";
    icon.setAttribute("href", other === "dark" ? "#icon-moon" : "#icon-sun");
    button.setAttribute("aria-label", `Switch to ${other} colours`);
  };
  button.addEventListener("click", () => {
    choice = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    remember(choice);
    apply();
  });
  document.addEventListener("themechange", tell);
  tell();
}

function remembered() {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "dark" || theme === "light" ? theme : null;
  } catch {
    return null; // storage is switched off: the system decides
  }
}

function remember(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // storage is switched off: the choice lasts until the page is left
  }
}

system.addEventListener("change", apply);
apply();
